//! The name of a host, out of what a request names.

use std::borrow::Cow;

/// RFC 3986, section 3.2: without user and port; RFC 1034, section 3.1: without case and the root's dot.
pub fn canonical(host: &str) -> Cow<'_, str> {
    let host = host.rsplit('@').next().unwrap_or(host);
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _port)) => host.get(..address.len() + 2).unwrap_or(host),
        None => host.split(':').next().unwrap_or(host),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_its_name_alone() {
        let check = |host: &str, expected: &str| assert_eq!(canonical(host), expected, "{host}");
        check("api.example.com", "api.example.com");
        check("API.Example.com:8443", "api.example.com");
        check("api.example.com.", "api.example.com");
        check("user:secret@api.example.com:80", "api.example.com");
        check("[::1]:80", "[::1]");
        check("[::A]", "[::a]");
        check("[::1", "[");
        check("10.0.0.1:80", "10.0.0.1");
        check(":80", "");
        check("", "");
    }
}
