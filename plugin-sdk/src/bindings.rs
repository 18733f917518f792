//! What `wit-bindgen` makes of `wit/`: one module per world, sharing the types of the imports.
//!
//! Not for plugins to use: the traits of the kinds are, and the `export_…!` macros.
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated from wit/")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "generated"
)]
#![allow(
    unsafe_code,
    reason = "calls across the component boundary are foreign calls; the text is generated"
)]

/// What the host offers: `logging`, `state`, `accounts` and the shared types.
pub mod imports {
    wit_bindgen::generate!({
        world: "imports",
        path: "../wit",
        runtime_path: "wit_bindgen::rt",
        additional_derives: [PartialEq, Eq],
        generate_all,
    });
}

/// One world: its name in WIT, the name of its export macro, this module's path, and the interfaces that it
/// shares with [`imports`].
macro_rules! world {
    ($module:ident, $world:literal, $export:literal, $default:literal, [$($wit:literal = $shared:ident),*]) => {
        pub mod $module {
            wit_bindgen::generate!({
                world: $world,
                path: "../wit",
                runtime_path: "wit_bindgen::rt",
                pub_export_macro: true,
                export_macro_name: $export,
                default_bindings_module: $default,
                with: { $($wit: crate::bindings::imports::weir::plugin::$shared),* },
            });
        }
    };
    ($module:ident, $world:literal, $export:literal, $default:literal) => {
        world!($module, $world, $export, $default, [
            "weir:plugin/types@0.1.0" = types,
            "weir:plugin/logging@0.1.0" = logging,
            "weir:plugin/state@0.1.0" = state,
            "weir:plugin/accounts@0.1.0" = accounts
        ]);
    };
}

world!(auth, "auth-plugin", "export_auth_world", "weir_plugin::bindings::auth");
world!(filter, "filter-plugin", "export_filter_world", "weir_plugin::bindings::filter");
world!(transform, "transform-plugin", "export_transform_world", "weir_plugin::bindings::transform");
world!(storage, "storage-plugin", "export_storage_world", "weir_plugin::bindings::storage");
world!(
    ticker,
    "with-ticker",
    "export_ticker_world",
    "weir_plugin::bindings::ticker",
    ["weir:plugin/types@0.1.0" = types]
);
world!(
    migration,
    "with-migration",
    "export_migration_world",
    "weir_plugin::bindings::migration",
    ["weir:plugin/types@0.1.0" = types]
);
world!(selftest, "with-selftest", "export_selftest_world", "weir_plugin::bindings::selftest", []);
