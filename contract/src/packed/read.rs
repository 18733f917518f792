use super::{FORMAT, Malformed, tag};

/// The fields of a blob in order; an error where it stops making sense, and then nothing more. Checks the
/// framing only, not the values.
pub fn fields(blob: &[u8]) -> Fields<'_> {
    Fields { blob, rest: blob, begun: false }
}

/// The iterator of [`fields`].
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    blob: &'a [u8],
    rest: &'a [u8],
    begun: bool,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u8, &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.begun {
            self.begun = true;
            match self.rest.split_first() {
                None => return None,
                Some((&FORMAT, rest)) => self.rest = rest,
                Some(_) => return Some(Err(self.fail("unknown format, 1 is accepted"))),
            }
        }
        match self.rest {
            [] => None,
            [tag, low, high, tail @ ..] => {
                match tail.split_at_checked(u16::from_le_bytes([*low, *high]).into()) {
                    Some((value, rest)) => {
                        self.rest = rest;
                        Some(Ok((*tag, value)))
                    }
                    None => Some(Err(self.fail("the value is cut off"))),
                }
            }
            _ => Some(Err(self.fail("the field's head is cut off"))),
        }
    }
}

impl Fields<'_> {
    /// Where the next field begins.
    pub(super) fn offset(&self) -> usize {
        self.blob.len() - self.rest.len()
    }

    fn fail(&mut self, reason: &'static str) -> Malformed {
        let offset = self.offset();
        self.rest = &[];
        Malformed { offset, reason }
    }
}

/// The value of the first field with this tag. Allocates nothing. None also where the blob stops making
/// sense before such a field.
pub fn first(blob: &[u8], tag: u8) -> Option<&[u8]> {
    fields(blob).map_while(Result::ok).find(|(found, _)| *found == tag).map(|(_, value)| value)
}

/// [`first`] as text; None if it is not UTF-8.
pub fn text(blob: &[u8], tag: u8) -> Option<&str> {
    std::str::from_utf8(first(blob, tag)?).ok()
}

/// [`first`] as a number of exactly eight bytes.
pub fn u64_of(blob: &[u8], tag: u8) -> Option<u64> {
    Some(u64::from_le_bytes(first(blob, tag)?.try_into().ok()?))
}

/// [`first`] as a flag; absent is false.
pub fn flag_of(blob: &[u8], tag: u8) -> bool {
    first(blob, tag) == Some(&[1])
}

/// The named texts of a tag ([`tag::HEADER`], [`tag::ATTRIBUTE`]) in order, as name and value. One that
/// does not decode is skipped.
pub fn named(blob: &[u8], tag: u8) -> Named<'_> {
    Named { fields: fields(blob), tag }
}

/// The iterator of [`named`].
#[derive(Debug, Clone)]
pub struct Named<'a> {
    fields: Fields<'a>,
    tag: u8,
}

impl<'a> Iterator for Named<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let wanted = self.tag;
        self.fields
            .by_ref()
            .map_while(Result::ok)
            .filter(|(found, _)| *found == wanted)
            .find_map(|(_, value)| split_named(value))
    }
}

/// The value of the first named text with this tag and name.
pub fn value_of<'a>(blob: &'a [u8], tag: u8, name: &str) -> Option<&'a str> {
    named(blob, tag).find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// The publisher-owned fields (tag 0x80 and above) of a well-formed blob; where a blob stops making sense,
/// so does the iteration.
pub fn publisher_fields(blob: &[u8]) -> impl Iterator<Item = (u8, &[u8])> + Clone {
    fields(blob).map_while(Result::ok).filter(|(found, _)| tag::is_publisher(*found))
}

/// Takes the value of a named text apart: name and text.
pub fn split_named(value: &[u8]) -> Option<(&str, &str)> {
    let (len, rest) = value.split_first()?;
    let (name, value) = rest.split_at_checked(usize::from(*len))?;
    Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?))
}
