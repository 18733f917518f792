//! Numbers in answers.

use serde::{Serialize, Serializer};

/// As the original answers: whole numbers without a fraction, and what JSON does not have as a text.
pub(super) struct Number(pub(super) f64);

/// Whole numbers up to here are exact.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Serialize for Number {
    #[expect(clippy::cast_possible_truncation, reason = "it is in range")]
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self(value) = *self;
        if value.is_nan() {
            to.serialize_str("NaN")
        } else if value.is_infinite() {
            to.serialize_str(if value > 0.0 { "Infinity" } else { "-Infinity" })
        } else if value.fract() == 0.0 && value.abs() < EXACT {
            to.serialize_i64(value as i64)
        } else {
            to.serialize_f64(value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_form() {
        let written = |value| serde_json::to_string(&Number(value)).unwrap();
        for (value, wanted) in [
            (42.0, "42"),
            (-0.0, "0"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e300, "1e+300"),
            (EXACT, "9007199254740992.0"),
            (f64::NAN, "\"NaN\""),
            (f64::INFINITY, "\"Infinity\""),
            (f64::NEG_INFINITY, "\"-Infinity\""),
        ] {
            assert_eq!(written(value), wanted);
        }
    }
}
