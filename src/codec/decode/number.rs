//! Numbers: the JSON grammar, and what each protobuf type takes from it.
//!
//! ```text
//! number = [ "-" ] ( "0" | 1-9 *DIGIT ) [ "." 1*DIGIT ] [ ( "e" | "E" ) [ "+" | "-" ] 1*DIGIT ]
//! ```
//!
//! An integer may be written with a fraction or an exponent as long as its value is integral (`1.0`,
//! `1e2`). Work is linear in the text and no power of ten is ever computed that does not fit: `1e999999`
//! costs what it takes to read eight characters.

use crate::codec::wire::{zigzag32, zigzag64};
use crate::schema::plan::Kind;

/// Why a number is not a value of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    #[error("expected an integer")]
    NotInteger,
    #[error("expected a number")]
    NotNumber,
    #[error("out of range for {0}")]
    Range(&'static str),
}

/// An integer as it stood in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Integer {
    negative: bool,
    magnitude: u64,
}

/// How long the number is that `text` begins with; 0 if it begins with none.
pub(super) fn token_len(text: &[u8]) -> usize {
    let digits = |from: usize| {
        text.get(from..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let mut len = usize::from(text.first() == Some(&b'-'));
    match digits(len) {
        0 => return 0,
        // A leading zero stands alone.
        count if count > 1 && text[len] == b'0' => return 0,
        count => len += count,
    }
    if text.get(len) == Some(&b'.') {
        match digits(len + 1) {
            0 => return 0,
            count => len += 1 + count,
        }
    }
    if let Some(b'e' | b'E') = text.get(len) {
        let sign = usize::from(matches!(text.get(len + 1), Some(b'+' | b'-')));
        match digits(len + 1 + sign) {
            0 => return 0,
            count => len += 1 + sign + count,
        }
    }
    len
}

/// The integer without fraction or exponent that `text` begins with, and its length.
///
/// `None` when there is more to it (or it is none at all): then [`token_len`] and [`integer`] decide.
#[inline]
pub(super) fn plain_integer(text: &[u8]) -> Option<(Integer, usize)> {
    let negative = text.first() == Some(&b'-');
    let start = usize::from(negative);
    let (magnitude, len) = digits_from(text, start, 0);
    let digits = len - start;
    let plain = matches!(digits, 1..=19)
        && !(digits > 1 && text[start] == b'0')
        && !matches!(text.get(len), Some(b'.' | b'e' | b'E'));
    plain.then_some((Integer { negative, magnitude }, len))
}

/// A number without exponent, of so few digits that it and its power of ten are exact as floats.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decimal {
    negative: bool,
    /// Below 10¹⁵, hence exact as `f64`.
    digits: u64,
    digits_len: usize,
    fraction_len: usize,
}

const DECIMAL_DIGITS_MAX: usize = 15;

/// The powers of ten that a [`Decimal`] is divided by; `f64` has them exactly, up to 10²².
const POWERS: [f64; DECIMAL_DIGITS_MAX + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// The decimal that `text` begins with, and its length.
///
/// `None` when it is longer, has an exponent, or is no number: then [`token_len`], [`double`] and [`float`] decide.
#[inline]
pub(super) fn plain_decimal(text: &[u8]) -> Option<(Decimal, usize)> {
    let negative = text.first() == Some(&b'-');
    let start = usize::from(negative);
    let (whole, at) = digits_from(text, start, 0);
    let whole_len = at - start;
    if whole_len == 0 || (whole_len > 1 && text[start] == b'0') {
        return None;
    }
    let (digits, fraction_len, end) = match text.get(at) {
        Some(b'.') => {
            let (digits, end) = digits_from(text, at + 1, whole);
            (digits, Some(end - at - 1).filter(|len| *len > 0)?, end)
        }
        _ => (whole, 0, at),
    };
    let digits_len = whole_len + fraction_len;
    let plain = digits_len <= DECIMAL_DIGITS_MAX && !matches!(text.get(end), Some(b'e' | b'E'));
    plain.then_some((Decimal { negative, digits, digits_len, fraction_len }, end))
}

/// Reads digits on from `at`, behind those of `value`; wraps when there are too many.
#[inline]
fn digits_from(text: &[u8], mut at: usize, mut value: u64) -> (u64, usize) {
    while let Some(digit) = text.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit <= 9) {
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    (value, at)
}

impl Decimal {
    /// The nearest double: the quotient of two exact doubles is rounded once (Clinger, 1990).
    #[inline]
    pub(super) fn double(self) -> f64 {
        let value = self.digits as f64 / POWERS[self.fraction_len];
        if self.negative { -value } else { value }
    }

    /// The nearest float, if there are no more digits than `f32` has room for.
    #[inline]
    pub(super) fn float(self) -> Option<f32> {
        let value = (self.digits_len <= 7).then(|| self.digits as f32 / POWERS[self.fraction_len] as f32)?;
        Some(if self.negative { -value } else { value })
    }
}

/// The integral value of a number, which follows the grammar.
pub(super) fn integer(number: &[u8]) -> Result<Integer, NumberError> {
    let (negative, number) = match number {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, number),
    };
    let (mantissa, exponent) = match number.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(place) => (&number[..place], exponent(&number[place + 1..])),
        None => (number, 0),
    };
    let fraction_len = mantissa.iter().rev().position(|byte| *byte == b'.').unwrap_or(0);
    // The value is `magnitude × 10^zeros`, where zeros are held back until a digit needs them.
    let (mut magnitude, mut zeros) = (0u64, 0i64);
    let mut fits = true;
    for digit in mantissa.iter().filter(|byte| **byte != b'.').map(|byte| byte - b'0') {
        if digit == 0 {
            zeros += i64::from(magnitude != 0);
            continue;
        }
        let shifted = shift(magnitude, zeros + 1).and_then(|value| value.checked_add(u64::from(digit)));
        fits &= shifted.is_some();
        // Any value but zero will do once it does not fit: what is left to learn is if it is integral.
        magnitude = shifted.unwrap_or(1);
        zeros = 0;
    }
    let zeros = zeros + exponent - i64::try_from(fraction_len).unwrap_or(i64::MAX / 2);
    match magnitude {
        0 => Ok(Integer { negative, magnitude }),
        _ if zeros < 0 => Err(NumberError::NotInteger),
        _ => shift(magnitude, zeros)
            .filter(|_| fits)
            .map(|magnitude| Integer { negative, magnitude })
            .ok_or(NumberError::Range("64 bits")),
    }
}

/// The exponent, as far as it makes a difference.
fn exponent(text: &[u8]) -> i64 {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let bounded = |value: i64, digit: &u8| (value * 10 + i64::from(digit - b'0')).min(i64::MAX / 100);
    let value = digits.iter().fold(0, bounded);
    if negative { -value } else { value }
}

/// `value × 10^zeros` for `zeros ≥ 0`.
fn shift(value: u64, zeros: i64) -> Option<u64> {
    10u64.checked_pow(u32::try_from(zeros).ok()?)?.checked_mul(value)
}

impl Integer {
    /// The value as the wire has it for `kind`, before it is written as varint or fixed.
    #[inline]
    pub(super) fn bits(self, kind: Kind) -> Result<u64, NumberError> {
        let range = || NumberError::Range(kind.name());
        match kind {
            Kind::Int32 | Kind::Enum(_) => Ok(i64::from(self.i32().ok_or_else(range)?).cast_unsigned()),
            Kind::Sint32 => Ok(u64::from(zigzag32(self.i32().ok_or_else(range)?))),
            Kind::Sfixed32 => Ok(u64::from(self.i32().ok_or_else(range)?.cast_unsigned())),
            Kind::Int64 | Kind::Sfixed64 => Ok(self.i64().ok_or_else(range)?.cast_unsigned()),
            Kind::Sint64 => Ok(zigzag64(self.i64().ok_or_else(range)?)),
            Kind::Uint32 | Kind::Fixed32 => match u32::try_from(self.u64().ok_or_else(range)?) {
                Ok(value) => Ok(u64::from(value)),
                Err(_) => Err(range()),
            },
            Kind::Uint64 | Kind::Fixed64 => self.u64().ok_or_else(range),
            _ => Err(NumberError::NotInteger),
        }
    }

    #[inline]
    fn i64(self) -> Option<i64> {
        if self.negative {
            0i64.checked_sub_unsigned(self.magnitude)
        } else {
            i64::try_from(self.magnitude).ok()
        }
    }

    #[inline]
    pub(super) fn i32(self) -> Option<i32> {
        i32::try_from(self.i64()?).ok()
    }

    #[inline]
    fn u64(self) -> Option<u64> {
        (!self.negative || self.magnitude == 0).then_some(self.magnitude)
    }
}

/// A number, which follows the grammar, as an IEEE 754 double; never infinite.
#[inline]
pub(super) fn double(number: &[u8]) -> Result<f64, NumberError> {
    let text = std::str::from_utf8(number).map_err(|_| NumberError::NotNumber)?;
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(NumberError::Range("double")),
        Err(_) => Err(NumberError::NotNumber),
    }
}

/// A number, which follows the grammar, as an IEEE 754 single; never infinite.
pub(super) fn float(number: &[u8]) -> Result<f32, NumberError> {
    let text = std::str::from_utf8(number).map_err(|_| NumberError::NotNumber)?;
    match text.parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(NumberError::Range("float")),
        Err(_) => Err(NumberError::NotNumber),
    }
}

/// The value of a text (a JSON string, a capture, a query parameter) that stands for a number of `kind`.
pub(super) fn bits_of_text(kind: Kind, text: &[u8]) -> Result<u64, NumberError> {
    let is_number = || token_len(text) == text.len() && !text.is_empty();
    match kind {
        Kind::Double => Ok(match text {
            b"NaN" => f64::NAN,
            b"Infinity" => f64::INFINITY,
            b"-Infinity" => f64::NEG_INFINITY,
            _ if is_number() => double(text)?,
            _ => return Err(NumberError::NotNumber),
        }
        .to_bits()),
        Kind::Float => Ok(u64::from(
            match text {
                b"NaN" => f32::NAN,
                b"Infinity" => f32::INFINITY,
                b"-Infinity" => f32::NEG_INFINITY,
                _ if is_number() => float(text)?,
                _ => return Err(NumberError::NotNumber),
            }
            .to_bits(),
        )),
        _ => match plain_integer(text) {
            Some((integer, len)) if len == text.len() => integer.bits(kind),
            _ if is_number() => in_kind(integer(text), kind)?.bits(kind),
            _ => Err(NumberError::NotInteger),
        },
    }
}

/// Names the type in the error of a number that no integer type can hold.
pub(super) fn in_kind(integer: Result<Integer, NumberError>, kind: Kind) -> Result<Integer, NumberError> {
    integer.map_err(|error| match error {
        NumberError::Range(_) => NumberError::Range(kind.name()),
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_grammar() {
        #[track_caller]
        fn check(text: &str, len: usize) {
            assert_eq!(token_len(text.as_bytes()), len, "{text}");
        }
        check("0", 1);
        check("-0", 2);
        check("10,", 2);
        check("1.5e-10}", 7);
        check("1E+2", 4);
        check("0.0", 3);
        check("", 0);
        check("-", 0);
        check("+1", 0);
        check("01", 0);
        check("-01", 0);
        check(".5", 0);
        check("1.", 0);
        check("1.e5", 0);
        check("1e", 0);
        check("1e+", 0);
        check("NaN", 0);
        check("Infinity", 0);
        check("0x10", 1);
    }

    #[test]
    fn integers_are_what_is_integral() {
        #[track_caller]
        fn check(text: &str, expected: Result<i128, NumberError>) {
            assert_eq!(token_len(text.as_bytes()), text.len());
            let value =
                |integer: Integer| i128::from(integer.magnitude) * if integer.negative { -1 } else { 1 };
            assert_eq!(integer(text.as_bytes()).map(value), expected, "{text}");
            if let Some((plain, len)) = plain_integer(text.as_bytes()) {
                assert_eq!((Ok(value(plain)), len), (expected, text.len()), "{text}");
            }
        }
        let range = Err(NumberError::Range("64 bits"));
        check("0", Ok(0));
        check("-0", Ok(0));
        check("0.000e-5", Ok(0));
        check("0e999999999999999999999", Ok(0));
        check("1.0", Ok(1));
        check("1e2", Ok(100));
        check("1.25e2", Ok(125));
        check("-120e-1", Ok(-12));
        check("100000000000000000000000000e-20", Ok(1_000_000));
        check("0.00000000000000000000000001e26", Ok(1));
        check("18446744073709551615", Ok(18_446_744_073_709_551_615));
        check("18446744073709551616", range);
        check("9999999999999999999", Ok(9_999_999_999_999_999_999));
        check("1e19", Ok(10_000_000_000_000_000_000));
        check("1e20", range);
        check("1e999999", range);
        check("1e99999999999999999999999999", range);
        check("1.5", Err(NumberError::NotInteger));
        check("1.25e1", Err(NumberError::NotInteger));
        check("1e-1", Err(NumberError::NotInteger));
        check("1e-99999999999999999999999999", Err(NumberError::NotInteger));
        check("123456789012345678901234567890e-25", Err(NumberError::NotInteger));
    }

    #[test]
    fn plain_decimals_are_the_nearest_floats() {
        #[track_caller]
        fn check(text: &str) {
            let (decimal, len) = plain_decimal(text.as_bytes()).expect("the case is plain");
            assert_eq!(len, text.len(), "{text}");
            let double: f64 = text.parse().expect("the case is a number");
            assert_eq!(decimal.double().to_bits(), double.to_bits(), "{text}");
            if let Some(value) = decimal.float() {
                let float: f32 = text.parse().expect("the case is a number");
                assert_eq!(value.to_bits(), float.to_bits(), "{text}");
            }
        }
        for text in ["0", "-0", "-0.0", "1", "0.1", "0.3", "-12.5", "999999999999999", "0.00000000000001"] {
            check(text);
        }
        let mut digits = 1u64;
        for _ in 0..20_000 {
            digits = digits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (whole, fraction) = (digits >> 44, digits % 10_000_000);
            check(&format!("{whole}.{fraction}"));
            check(&format!("{}.{}", whole % 100, fraction % 10_000));
        }
        for text in ["", "-", ".5", "1.", "01", "1e5", "1.5E5", "1234567890123456", "1.234567890123456", "x"]
        {
            assert!(plain_decimal(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn types_have_ranges() {
        #[track_caller]
        fn check(kind: Kind, text: &str, expected: Option<u64>) {
            assert_eq!(bits_of_text(kind, text.as_bytes()).ok(), expected, "{text} as {kind:?}");
        }
        check(Kind::Int32, "2147483647", Some(0x7fff_ffff));
        check(Kind::Int32, "2147483648", None);
        check(Kind::Int32, "-2147483648", Some(0xffff_ffff_8000_0000));
        check(Kind::Int32, "-2147483649", None);
        check(Kind::Sint32, "-2147483648", Some(0xffff_ffff));
        check(Kind::Sfixed32, "-1", Some(0xffff_ffff));
        check(Kind::Uint32, "4294967295", Some(0xffff_ffff));
        check(Kind::Uint32, "4294967296", None);
        check(Kind::Uint32, "-1", None);
        check(Kind::Uint32, "-0", Some(0));
        check(Kind::Fixed32, "4294967296", None);
        check(Kind::Int64, "9223372036854775807", Some(0x7fff_ffff_ffff_ffff));
        check(Kind::Int64, "9223372036854775808", None);
        check(Kind::Int64, "-9223372036854775808", Some(0x8000_0000_0000_0000));
        check(Kind::Int64, "-9223372036854775809", None);
        check(Kind::Sint64, "-9223372036854775808", Some(u64::MAX));
        check(Kind::Uint64, "18446744073709551615", Some(u64::MAX));
        check(Kind::Uint64, "18446744073709551616", None);
        check(Kind::Fixed64, "-1", None);
        check(Kind::Int32, "1e2", Some(100));
        check(Kind::Int32, "1.5", None);
        check(Kind::Int32, "", None);
        check(Kind::Int32, " 1", None);
        check(Kind::Int32, "1 ", None);
        check(Kind::Int32, "01", None);
        check(Kind::Int32, "0x1", None);
        check(Kind::Double, "NaN", Some(f64::NAN.to_bits()));
        check(Kind::Double, "-Infinity", Some(f64::NEG_INFINITY.to_bits()));
        check(Kind::Double, "-0", Some(1 << 63));
        check(Kind::Double, "1.7976931348623157e308", Some(f64::MAX.to_bits()));
        check(Kind::Double, "1.8e308", None);
        check(Kind::Double, "1e-400", Some(0));
        check(Kind::Double, "inf", None);
        check(Kind::Double, "nan", None);
        check(Kind::Double, "+1", None);
        check(Kind::Float, "3.4028234663852886e38", Some(u64::from(f32::MAX.to_bits())));
        check(Kind::Float, "3.5e38", None);
        check(Kind::Float, "Infinity", Some(u64::from(f32::INFINITY.to_bits())));
    }
}
