use crate::pointer::Pointer;
use serde::Deserialize;
use weir_plugin::serde_json::{Number, Value};
use weir_plugin::{ConfigError, Refusal};

/// Conversions by name: value * scale + offset.
const UNITS: [(&str, f64, f64); 20] = [
    ("celsius-to-fahrenheit", 1.8, 32.0),
    ("celsius-to-kelvin", 1.0, 273.15),
    ("fahrenheit-to-celsius", 5.0 / 9.0, -160.0 / 9.0),
    ("kelvin-to-celsius", 1.0, -273.15),
    ("inch-to-mm", 25.4, 0.0),
    ("mm-to-inch", 1.0 / 25.4, 0.0),
    ("mile-to-km", 1.609_344, 0.0),
    ("km-to-mile", 1.0 / 1.609_344, 0.0),
    ("mph-to-mps", 0.447_04, 0.0),
    ("knots-to-mps", 1852.0 / 3600.0, 0.0),
    ("kmh-to-mps", 1.0 / 3.6, 0.0),
    ("psi-to-hpa", 68.947_572_931_683_6, 0.0),
    ("mmhg-to-hpa", 1.333_223_684_210_526_4, 0.0),
    ("hpa-to-pa", 100.0, 0.0),
    ("pa-to-hpa", 0.01, 0.0),
    ("percent-to-fraction", 0.01, 0.0),
    ("fraction-to-percent", 100.0, 0.0),
    ("wh-to-joule", 3600.0, 0.0),
    ("s-to-ms", 1000.0, 0.0),
    ("ms-to-s", 0.001, 0.0),
];

/// Most digits after the point: more than a number of 64 bits has.
const MAX_DIGITS: u8 = 15;

/// Whole numbers beyond it are not exact any more.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// One field's conversion.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Convert {
    path: Pointer,
    unit: Option<String>,
    scale: Option<f64>,
    offset: Option<f64>,
    digits: Option<u8>,
}

impl Convert {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        match &self.unit {
            Some(_) if self.scale.is_some() || self.offset.is_some() => {
                return Err(ConfigError::new("/unit", "stands instead of scale and offset, not with them"));
            }
            Some(name) if named(name).is_none() => {
                let known: Vec<&str> = UNITS.iter().map(|(name, ..)| *name).collect();
                let reason = format!("`{name}` is unknown: {} are accepted", known.join(", "));
                return Err(ConfigError::new("/unit", reason));
            }
            None if self.scale.is_none() && self.offset.is_none() && self.digits.is_none() => {
                return Err(ConfigError::new("", "needs unit, scale, offset or digits"));
            }
            _ => {}
        }
        if self.digits.is_some_and(|digits| digits > MAX_DIGITS) {
            return Err(ConfigError::new("/digits", format!("must be at most {MAX_DIGITS}")));
        }
        Ok(())
    }

    /// Converts the field, if it is there.
    pub(crate) fn apply(&self, body: &mut Value) -> Result<(), Refusal> {
        let Some(place) = self.path.get_mut(body) else { return Ok(()) };
        let Some(number) = place.as_f64() else {
            return Err(Refusal::new("must be a number to be converted").at(&self.path));
        };
        let (scale, offset) = self.factors();
        let mut converted = number * scale + offset;
        if let Some(digits) = self.digits {
            let shift = 10_f64.powi(i32::from(digits));
            converted = (converted * shift).round() / shift;
        }
        match json_number(converted) {
            Some(number) => *place = Value::Number(number),
            None => return Err(Refusal::new("is too large to be converted").at(&self.path)),
        }
        Ok(())
    }

    fn factors(&self) -> (f64, f64) {
        match self.unit.as_deref().and_then(named) {
            Some(factors) => factors,
            None => (self.scale.unwrap_or(1.0), self.offset.unwrap_or(0.0)),
        }
    }
}

fn named(name: &str) -> Option<(f64, f64)> {
    UNITS.iter().find(|(known, ..)| *known == name).map(|(_, scale, offset)| (*scale, *offset))
}

/// Without a fraction where there is none: 1000, not 1000.0.
fn json_number(number: f64) -> Option<Number> {
    if number.fract() == 0.0 && number.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and within 53 bits")]
        return Some(Number::from(number as i64));
    }
    Number::from_f64(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_plugin::serde_json::{from_value, json};

    fn converted(convert: Value, number: Value) -> Value {
        let convert: Convert = from_value(convert).unwrap();
        convert.check().unwrap();
        let mut body = json!({ "n": number });
        convert.apply(&mut body).unwrap();
        body["n"].take()
    }

    #[test]
    fn units_are_right() {
        for (unit, from, to) in [
            ("fahrenheit-to-celsius", 212.0, 100.0),
            ("celsius-to-fahrenheit", -40.0, -40.0),
            ("celsius-to-kelvin", 0.0, 273.15),
            ("kelvin-to-celsius", 273.15, 0.0),
            ("inch-to-mm", 1.0, 25.4),
            ("mm-to-inch", 25.4, 1.0),
            ("mile-to-km", 1.0, 1.609344),
            ("km-to-mile", 1.609344, 1.0),
            ("mph-to-mps", 100.0, 44.704),
            ("knots-to-mps", 3600.0, 1852.0),
            ("kmh-to-mps", 36.0, 10.0),
            ("psi-to-hpa", 14.5037737730, 1000.0),
            ("mmhg-to-hpa", 760.0, 1013.25),
            ("hpa-to-pa", 10.0, 1000.0),
            ("pa-to-hpa", 100.0, 1.0),
            ("percent-to-fraction", 50.0, 0.5),
            ("fraction-to-percent", 0.5, 50.0),
            ("wh-to-joule", 1.0, 3600.0),
            ("s-to-ms", 1.5, 1500.0),
            ("ms-to-s", 1500.0, 1.5),
        ] {
            let found = converted(json!({"path": "/n", "unit": unit}), json!(from)).as_f64().unwrap();
            assert!((found - to).abs() < 1e-6, "{unit}: {found}");
        }
        assert_eq!(UNITS.len(), 20, "each has a line above");
    }

    #[test]
    fn factors_and_digits() {
        assert_eq!(converted(json!({"path": "/n", "scale": 10}), json!(2)), json!(20));
        assert_eq!(converted(json!({"path": "/n", "scale": 0.5, "offset": 1}), json!(1)), json!(1.5));
        assert_eq!(converted(json!({"path": "/n", "digits": 1}), json!(21.449)), json!(21.4));
        assert_eq!(converted(json!({"path": "/n", "digits": 0}), json!(-0.2)), json!(0));
    }

    #[test]
    fn what_is_no_number_is_refused_and_what_is_absent_is_not() {
        let convert: Convert = from_value(json!({"path": "/n", "scale": 1e308})).unwrap();
        assert_eq!(convert.apply(&mut json!({"n": "1"})).unwrap_err().path, "/n");
        assert_eq!(
            convert.apply(&mut json!({"n": 1e10})).unwrap_err().reason,
            "is too large to be converted"
        );
        assert_eq!(convert.apply(&mut json!({})), Ok(()));
    }
}
