//! Values as clients and libraries of many languages write them: whole numbers with a fraction of
//! 0, numbers for texts.

use std::borrow::Cow;

use serde_json::{Number, Value};

/// The largest magnitude up to which doubles hold every whole number.
// Where JavaScript keeps an id in a double, its digits are exact up to here.
const MOST_EXACT: f64 = 9_007_199_254_740_992.0;

/// The first whole number that a `u64` cannot hold.
const PAST_U64: f64 = 18_446_744_073_709_551_616.0;

/// Returns the whole number from 0 up that a value is; `2.0` is 2.
pub fn whole(value: &Value) -> Option<u64> {
    let Value::Number(number) = value else { return None };
    // A float beyond the range would be cut to its end by `as`, and become another number.
    let is_whole = |float: &f64| float.fract() == 0.0 && (0.0..PAST_U64).contains(float);
    number.as_u64().or_else(|| number.as_f64().filter(is_whole).map(|float| float as u64))
}

/// Returns the text that a value is: itself, or the digits of a whole number.
pub fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => digits(number).map(Cow::Owned),
        _ => None,
    }
}

/// Returns the text of a text, number or boolean, as JavaScript writes it.
pub fn scalar_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Number(number) => Some(Cow::Owned(digits(number).unwrap_or_else(|| number.to_string()))),
        Value::Bool(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
        other => text(other),
    }
}

fn digits(number: &Number) -> Option<String> {
    if !number.is_f64() {
        return Some(number.to_string());
    }
    let is_exact = |float: &f64| float.fract() == 0.0 && float.abs() <= MOST_EXACT;
    number.as_f64().filter(is_exact).map(|float| (float as i64).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_without_a_fraction_is_whole() {
        for (value, number) in [
            (json!(2), 2),
            (json!(2.0), 2),
            (json!(-0.0), 0),
            (json!(1_795_874_817_241.0), 1_795_874_817_241),
            (json!(1e15), 1_000_000_000_000_000),
            (json!(u64::MAX), u64::MAX),
        ] {
            assert_eq!(whole(&value), Some(number), "{value}");
        }
        for value in [json!(-1), json!(1.5), json!(1.9e19), json!(1e300), json!("2"), json!(true), json!(null)] {
            assert_eq!(whole(&value), None, "{value}");
        }
    }

    #[test]
    fn whole_numbers_are_texts_of_their_digits() {
        for (value, expected) in [
            (json!("ann"), "ann"),
            (json!(1001), "1001"),
            (json!(1001.0), "1001"),
            (json!(-7), "-7"),
            (json!(0), "0"),
            (json!(-0.0), "0"),
            (json!(u64::MAX), "18446744073709551615"),
        ] {
            assert_eq!(text(&value).as_deref(), Some(expected), "{value}");
        }
        for value in [json!(1.5), json!(1e300), json!(true), json!(null), json!([1]), json!({})] {
            assert_eq!(text(&value), None, "{value}");
        }
    }

    #[test]
    fn scalars_have_a_text() {
        for (value, expected) in [
            (json!("hi"), "hi"),
            (json!(7), "7"),
            (json!(7.0), "7"),
            (json!(1.5), "1.5"),
            (json!(true), "true"),
            (json!(false), "false"),
        ] {
            assert_eq!(scalar_text(&value).as_deref(), Some(expected), "{value}");
        }
        for value in [json!(null), json!([1]), json!({"a": 1})] {
            assert_eq!(scalar_text(&value), None, "{value}");
        }
    }
}
