//! The stock plugins that are embedded in the binary, named `stock:NAME` in bindings.

include!(concat!(env!("OUT_DIR"), "/stock.rs"));

/// The component of this name.
pub fn component(name: &str) -> Option<&'static [u8]> {
    STOCK.iter().find(|(stock, _)| *stock == name).map(|(_, bytes)| *bytes)
}

/// The names, for error texts and lists.
pub fn names() -> Vec<&'static str> {
    STOCK.iter().map(|(name, _)| *name).collect()
}
