//! JSON numbers: integers, and floating-point numbers as short as they can be.
//!
//! Eight digits are made at once in the lanes of one word and written as one block, zeros before
//! (or behind) them cut off. Doubles that are prices, weights or places on a map take the same way:
//! they are a whole number of ten-thousandths, and of all decimals of so few digits only one is nearest.

use super::text::put_block;

/// What eight digits are below.
const EIGHT_DIGITS: u64 = 100_000_000;

/// `0` in every lane of a word.
const ZEROS: u64 = u64::MAX / 255 * b'0' as u64;

/// Into how many parts the unit of a short decimal is divided: four digits behind the point.
const PARTS: u64 = 10_000;

/// An integer type of protobuf.
pub trait Integer: Copy {
    fn is_negative(self) -> bool;
    fn magnitude(self) -> u64;
}

#[inline]
pub(super) fn integer(out: &mut Vec<u8>, value: impl Integer) {
    if value.is_negative() {
        out.push(b'-');
    }
    magnitude(out, value.magnitude());
}

#[inline]
pub(super) fn quoted_integer(out: &mut Vec<u8>, value: impl Integer) {
    out.push(b'"');
    integer(out, value);
    out.push(b'"');
}

/// Writes a floating-point number's text: shortest round-tripping, without the `.0` of an integral one.
///
/// Not a number and the infinities are strings (ProtoJSON).
pub(super) fn float<F: Float>(out: &mut Vec<u8>, value: F) {
    match value.parts() {
        Some(parts) => {
            if value.is_negative() {
                out.push(b'-');
            }
            magnitude(out, parts / PARTS);
            fraction(out, parts % PARTS);
        }
        None => any_float(out, value),
    }
}

/// Writes a number of more digits, or one that JSON does not have.
#[inline(never)]
fn any_float<F: Float>(out: &mut Vec<u8>, value: F) {
    if let Some(name) = value.name() {
        out.extend_from_slice(name);
        return;
    }
    let mut buffer = zmij::Buffer::new();
    let digits = buffer.format_finite(value).as_bytes();
    out.extend_from_slice(digits.strip_suffix(b".0").unwrap_or(digits));
}

#[inline]
fn magnitude(out: &mut Vec<u8>, value: u64) {
    if value < 10 {
        out.push(b'0' + value as u8);
    } else if value < 100 {
        let tens = value as u8 / 10;
        out.extend_from_slice(&[b'0' + tens, b'0' + value as u8 - 10 * tens]);
    } else if value < EIGHT_DIGITS {
        leading(out, value);
    } else {
        long(out, value);
    }
}

#[inline(never)]
fn long(out: &mut Vec<u8>, value: u64) {
    let (above, low) = (value / EIGHT_DIGITS, value % EIGHT_DIGITS);
    if above < EIGHT_DIGITS {
        leading(out, above);
    } else {
        leading(out, above / EIGHT_DIGITS);
        out.extend_from_slice(&(eight_digits(above % EIGHT_DIGITS) | ZEROS).to_le_bytes());
    }
    out.extend_from_slice(&(eight_digits(low) | ZEROS).to_le_bytes());
}

/// Writes a number of one to eight digits, which is not 0.
#[inline]
fn leading(out: &mut Vec<u8>, value: u64) {
    let digits = eight_digits(value);
    let absent = digits.trailing_zeros() / 8;
    let text = (digits | ZEROS).wrapping_shr(8 * absent);
    put_block(out, &text.to_le_bytes(), 8 - absent as usize);
}

/// Writes the point and the digits behind it, if there are [`PARTS`] of a unit.
#[inline]
fn fraction(out: &mut Vec<u8>, parts: u64) {
    if parts > 0 {
        let digits = eight_digits(parts * (EIGHT_DIGITS / PARTS));
        let len = 8 - digits.leading_zeros() as usize / 8;
        // At most four of the eight are digits, so that there is room for the point.
        let text = (digits | ZEROS) << 8 | u64::from(b'.');
        put_block(out, &text.to_le_bytes(), 1 + len);
    }
}

/// The eight digits of a number below [`EIGHT_DIGITS`] as numbers, the first in the lowest byte.
///
/// It is halved three times, all parts at once, by multiplying with the inverse of a power of ten
/// that is precise enough for as many digits as are left.
#[inline]
const fn eight_digits(value: u64) -> u64 {
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | (fours - 100 * hundreds) << 16;
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | (pairs - 10 * tens) << 8
}

macro_rules! integers {
    ($($integer:ident: $is_negative:expr, $magnitude:expr;)*) => {$(
        impl Integer for $integer {
            #[inline]
            fn is_negative(self) -> bool {
                $is_negative(self)
            }

            #[inline]
            fn magnitude(self) -> u64 {
                u64::from($magnitude(self))
            }
        }
    )*};
}

integers! {
    i32: i32::is_negative, i32::unsigned_abs;
    i64: i64::is_negative, i64::unsigned_abs;
    u32: |_| false, |value| value;
    u64: |_| false, |value| value;
}

/// A floating-point type of protobuf.
pub trait Float: zmij::Float {
    fn is_negative(self) -> bool;

    /// The magnitude in ten-thousandths, where that says all: where no other decimal of as few digits
    /// would read back as the same number. An `f64` tells all decimals of 15 digits apart, an `f32` of 6.
    fn parts(self) -> Option<u64>;

    /// The JSON string of a value that is no JSON number.
    fn name(self) -> Option<&'static [u8]>;
}

/// Rounds a number below 2⁵² to an integer: the sum has no place for a fraction.
#[inline]
fn rounded(value: f64) -> u64 {
    const TWO_52: f64 = (1u64 << 52) as f64;
    (value + TWO_52).to_bits() ^ TWO_52.to_bits()
}

impl Float for f64 {
    #[inline]
    fn is_negative(self) -> bool {
        self.is_sign_negative()
    }

    #[inline]
    fn parts(self) -> Option<u64> {
        let scaled = self.abs() * PARTS as f64;
        let parts = rounded(scaled);
        // The quotient of two exact numbers is rounded once, as reading the decimal is.
        (scaled < 1e15 && parts.cast_signed() as f64 / PARTS as f64 == self.abs()).then_some(parts)
    }

    #[inline]
    fn name(self) -> Option<&'static [u8]> {
        if self.is_finite() {
            None
        } else if self.is_nan() {
            Some(b"\"NaN\"")
        } else if self > 0.0 {
            Some(b"\"Infinity\"")
        } else {
            Some(b"\"-Infinity\"")
        }
    }
}

impl Float for f32 {
    #[inline]
    fn is_negative(self) -> bool {
        self.is_sign_negative()
    }

    #[inline]
    fn parts(self) -> Option<u64> {
        let scaled = f64::from(self.abs()) * PARTS as f64;
        let parts = rounded(scaled);
        (scaled < 1e6 && parts.cast_signed() as f32 / PARTS as f32 == self.abs()).then_some(parts)
    }

    #[inline]
    fn name(self) -> Option<&'static [u8]> {
        f64::from(self).name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_all_their_digits() {
        #[track_caller]
        fn check<I: Integer + ToString>(value: I) {
            let mut out = Vec::new();
            integer(&mut out, value);
            assert_eq!(String::from_utf8_lossy(&out), value.to_string());
            out.clear();
            quoted_integer(&mut out, value);
            assert_eq!(String::from_utf8_lossy(&out), format!("\"{}\"", value.to_string()));
        }
        for power in (0..20).map(|exponent| 10u64.pow(exponent)) {
            for value in [power - 1, power, power + 1, power / 9 * 8, power.saturating_mul(7)] {
                check(value);
                check(value.cast_signed());
                check(-value.cast_signed());
                check(value as u32);
                check((value as u32).cast_signed());
            }
        }
        check(u64::MAX);
        check(i64::MIN);
        check(u32::MAX);
        check(i32::MIN);
    }

    #[test]
    fn eight_digits_are_right_for_every_four() {
        for value in 0..10_000 {
            let digits = |value| (eight_digits(value) | ZEROS).to_le_bytes();
            assert_eq!(digits(value), *format!("{value:08}").as_bytes().as_array().expect("eight"));
            assert_eq!(digits(value * 10_000 + 9_999 - value)[..4], *format!("{value:04}").as_bytes());
        }
    }

    #[test]
    fn short_decimals_are_the_shortest() {
        #[track_caller]
        fn check<F: Float>(value: F) {
            let (mut short, mut any) = (Vec::new(), Vec::new());
            float(&mut short, value);
            any_float(&mut any, value);
            assert_eq!(String::from_utf8_lossy(&short), String::from_utf8_lossy(&any));
        }
        for whole in [0u64, 1, 9, 10, 99, 100, 12_345, 99_999_999, 100_000_000, 99_999_999_999] {
            for part in [0, 1, 2, 10, 25, 100, 999, 1000, 1234, 5000, 9990, 9999] {
                let value = (whole * 10_000 + part) as f64 / 1e4;
                for value in [value, -value, value.next_up(), value.next_down(), value + 1e-5] {
                    check(value);
                    check(value as f32);
                    check((value as f32).next_up());
                    check((value as f32).next_down());
                }
            }
        }
        for exponent in -30..30 {
            check(10f64.powi(exponent));
            check(10f32.powi(exponent));
        }
    }

    #[test]
    fn floats_are_shortest_and_name_what_json_cannot() {
        fn check(value: f64, json: &str) {
            let mut out = Vec::new();
            float(&mut out, value);
            assert_eq!(String::from_utf8_lossy(&out), json);
            if value.is_finite() {
                assert_eq!(json.parse::<f64>().map(f64::to_bits), Ok(value.to_bits()));
            }
        }
        check(0.0, "0");
        check(-0.0, "-0");
        check(1.0, "1");
        check(-1.5, "-1.5");
        check(0.1, "0.1");
        check(100.0, "100");
        check(1e15, "1000000000000000");
        check(f64::MAX, "1.7976931348623157e+308");
        check(f64::MIN_POSITIVE, "2.2250738585072014e-308");
        check(5e-324, "5e-324");
        check(f64::NAN, "\"NaN\"");
        check(f64::INFINITY, "\"Infinity\"");
        check(f64::NEG_INFINITY, "\"-Infinity\"");
        let mut out = Vec::new();
        float(&mut out, 0.1f32);
        out.push(b' ');
        float(&mut out, f32::MAX);
        out.push(b' ');
        float(&mut out, f32::INFINITY);
        assert_eq!(out, b"0.1 3.4028235e+38 \"Infinity\"");
    }
}
