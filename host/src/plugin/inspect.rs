//! What a component's binary says of itself, read without compiling it: so that a file which is no plugin, or asks
//! for what it may not have, is refused for the price of reading its section headers.
//!
//! Nothing is validated here: that is done with the compiling, under its limits, and what was read here is read
//! once more from the compiled component.

use wasmparser::{ComponentExternalKind, Encoding, Parser, Payload};

use super::LoadError;

/// What a component asks for and offers, at its outermost level.
#[derive(Debug, Default)]
pub struct Surface<'a> {
    /// Names of its imports.
    pub imports: Vec<&'a str>,
    /// Names of its exports, and whether each is an instance: an interface.
    pub exports: Vec<(&'a str, bool)>,
}

/// More imports and exports than any plugin has use for; they become texts in logs and lists.
const NAMES: usize = 1_000;
/// Longest name of an import or export, in bytes.
const NAME_BYTES: usize = 256;

/// Reads the binary's headers.
pub fn inspect(bytes: &[u8]) -> Result<Surface<'_>, LoadError> {
    if let Some(what) = something_else(bytes) {
        return Err(LoadError::NotAComponent(what.into()));
    }
    let broken = |error: wasmparser::BinaryReaderError| {
        LoadError::NotAComponent(format!("it is damaged or cut off: {error}"))
    };
    let mut surface = Surface::default();
    // Components and modules may stand inside one another; only the outermost one's names count.
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(broken)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                return Err(LoadError::NotAComponent("it is a core module".into()));
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    surface.imports.push(name(import.map_err(broken)?.name.name)?);
                    surface.check()?;
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export.map_err(broken)?;
                    let is_instance = export.kind == ComponentExternalKind::Instance;
                    surface.exports.push((name(export.name.name)?, is_instance));
                    surface.check()?;
                }
            }
            _ => {}
        }
    }
    Ok(surface)
}

impl Surface<'_> {
    fn check(&self) -> Result<(), LoadError> {
        if self.imports.len() + self.exports.len() > NAMES {
            let why = format!("it has more than {NAMES} imports and exports");
            return Err(LoadError::NotAComponent(why));
        }
        Ok(())
    }
}

/// What people put into the folder in place of a component.
fn something_else(bytes: &[u8]) -> Option<&'static str> {
    if bytes.is_empty() {
        return Some("it is empty");
    }
    if bytes.starts_with(b"\x7fELF") {
        return Some("it is precompiled code");
    }
    (!bytes.starts_with(b"\0asm")).then_some("it does not begin with \\0asm")
}

/// The standard's names are plain ASCII. What is not would be written into logs and lists.
fn name(text: &str) -> Result<&str, LoadError> {
    if text.len() > NAME_BYTES || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let start: String = text.chars().take(64).collect();
        return Err(LoadError::NotAComponent(format!(
            "the name {start:?} is not one that the standard knows"
        )));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> String {
        let error = inspect(bytes).unwrap_err();
        assert_eq!(error.stage(), "format");
        error.to_string()
    }

    /// A component's header and one section.
    fn component(section: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        bytes.push(section);
        bytes.push(u8::try_from(body.len()).unwrap());
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn what_is_no_component_is_called_what_it_is() {
        for (bytes, reason) in [
            (&b""[..], "it is empty"),
            (b"#!/bin/sh\n", "does not begin"),
            (b"\0as", "does not begin"),
            (b"\x7fELF\x02\x01\x01", "precompiled code"),
            (b"\0asm\x01\0\0\0", "core module"),
            (b"\0asm\x0d\0", "cut off"),
            (b"\0asm\x0d\0\x01\0\x0a\x7f", "cut off"),
            (b"\0asm\x63\0\x01\0", "damaged"),
        ] {
            let said = refused(bytes);
            assert!(said.contains(reason), "{said}");
        }
    }

    #[test]
    fn names_of_the_outermost_level_are_read() {
        // An import of instance type 0, named a:b/c.
        let bytes = component(10, b"\x01\x00\x05a:b/c\x05\x00");
        assert_eq!(inspect(&bytes).unwrap().imports, ["a:b/c"]);
        // The same within an inner component.
        assert!(inspect(&component(4, &bytes)).unwrap().imports.is_empty());
    }

    #[test]
    fn a_name_that_would_forge_a_log_line_is_refused() {
        let said = refused(&component(10, b"\x01\x00\x05a\n[1m\x05\x00"));
        assert!(said.contains("a\\n[1m") && !said.contains('\n'), "{said}");
    }
}
