//! How long the client is willing to wait: three headers, the least of them counts.

use std::time::Duration;

use http::HeaderMap;

use crate::status::{Code, Status};

/// The client's own time limit, if it named one.
///
/// `grpc-timeout` (gRPC over HTTP/2: at most 8 digits and a unit), `X-Request-Timeout` (seconds, decimals
/// allowed) and `Connect-Timeout-Ms` (Connect protocol: at most 10 digits).
///
/// # Errors
///
/// `INVALID_ARGUMENT` naming the header that does not parse: a limit that is ignored in silence
/// would be worse.
pub fn client_timeout(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let mut least: Option<Duration> = None;
    for (name, parse, form) in HEADERS {
        let Some(value) = headers.get(*name) else { continue };
        let Some(timeout) = value.to_str().ok().and_then(parse) else {
            let status = Status::client(Code::InvalidArgument, format!("`{name}`: {form}"));
            return Err(status.with_violation(name, form).with_reason("BAD_TIMEOUT"));
        };
        least = Some(least.map_or(timeout, |least| least.min(timeout)));
    }
    Ok(least)
}

type Parse = fn(&str) -> Option<Duration>;

const HEADERS: &[(&str, Parse, &str)] = &[
    ("grpc-timeout", grpc_timeout, "expected up to 8 digits and one of H, M, S, m, u, n"),
    ("x-request-timeout", seconds, "expected seconds, such as `1.5`"),
    ("connect-timeout-ms", milliseconds, "expected up to 10 digits"),
];

fn grpc_timeout(text: &str) -> Option<Duration> {
    let digits = text.get(..text.len().checked_sub(1)?)?;
    let amount = digits_up_to(digits, 8)?;
    match text.as_bytes().last()? {
        b'H' => Some(Duration::from_secs(amount * 3600)),
        b'M' => Some(Duration::from_secs(amount * 60)),
        b'S' => Some(Duration::from_secs(amount)),
        b'm' => Some(Duration::from_millis(amount)),
        b'u' => Some(Duration::from_micros(amount)),
        b'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let nanos = digits_up_to(fraction, 9)? * 10u64.pow(9 - u32::try_from(fraction.len()).ok()?);
    Some(Duration::new(digits_up_to(whole, 8)?, u32::try_from(nanos).ok()?))
}

fn milliseconds(text: &str) -> Option<Duration> {
    digits_up_to(text, 10).map(Duration::from_millis)
}

fn digits_up_to(text: &str, count_max: usize) -> Option<u64> {
    let is_number = (1..=count_max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn check(headers: &[(&'static str, &'static str)], expected: Result<Option<Duration>, &str>) {
        let map = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let timeout = client_timeout(&map);
        match expected {
            Ok(expected) => assert_eq!(timeout.as_ref().ok(), Some(&expected), "{headers:?}"),
            Err(name) => {
                let message = timeout.expect_err("a refusal").message;
                assert!(message.starts_with(&format!("`{name}`")), "{headers:?}: {message}");
            }
        }
    }

    #[test]
    fn least_of_the_three_headers_counts() {
        let ms = |ms| Ok(Some(Duration::from_millis(ms)));
        check(&[], Ok(None));
        check(&[("grpc-timeout", "5S")], ms(5000));
        check(&[("grpc-timeout", "99999999m")], ms(99_999_999));
        check(&[("grpc-timeout", "1H"), ("x-request-timeout", "1.25")], ms(1250));
        check(&[("x-request-timeout", "2"), ("connect-timeout-ms", "100")], ms(100));
        check(&[("x-request-timeout", "0.000000001")], Ok(Some(Duration::from_nanos(1))));
    }

    #[test]
    fn malformed_timeouts_are_refused_by_name() {
        for value in ["", "S", "5", "5s", "123456789S", "-1S", "1.5S", "５S"] {
            let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) else { continue };
            let map = HeaderMap::from_iter([(HeaderName::from_static("grpc-timeout"), value)]);
            assert!(client_timeout(&map).is_err(), "{map:?}");
        }
        check(&[("x-request-timeout", "1.")], Err("x-request-timeout"));
        check(&[("x-request-timeout", "1.0000000001")], Err("x-request-timeout"));
        check(&[("x-request-timeout", "nan")], Err("x-request-timeout"));
        check(&[("connect-timeout-ms", "12345678901")], Err("connect-timeout-ms"));
    }
}
