//! What of certificates will fail somebody before long: they end, or those of a listener are for other hosts; and when
//! those of listeners end.

use std::sync::Arc;

use super::snapshot::warning;
use crate::config::Config;
use crate::config::finding::{Finding, Position};
use crate::config::surfaces::Host;
use crate::server::{ServerConfig, Shown, TlsHandle};
use crate::telemetry::{CertificateSeen, Metrics};

/// Long enough to renew by hand.
const EXPIRY_WARNING_S: i64 = 14 * 86_400;

/// Shows when the certificates end that listeners have from now on: those of the files as they were last read.
pub(super) fn show(server: &ServerConfig, metrics: &Metrics) {
    let publics = server.listeners.iter().map(|public| (public.name.clone(), public.tls.clone()));
    let admin = server.admin.iter().map(|admin| (ADMIN.into(), admin.tls.clone()));
    let all: Vec<(Arc<str>, TlsHandle)> =
        publics.chain(admin).filter_map(|(name, tls)| Some((name, tls?))).collect();
    metrics.observe_certificates(move || {
        let seen = |listener: &Arc<str>, shown: &Shown| CertificateSeen {
            listener: listener.clone(),
            name: shown.hosts.first().map(String::as_str).unwrap_or_default().into(),
            not_after_unix_s: shown.not_after_unix_s,
        };
        let of = |(listener, TlsHandle(tls)): &(Arc<str>, TlsHandle)| {
            tls.current().certificates().iter().map(|shown| seen(listener, shown)).collect::<Vec<_>>()
        };
        all.iter().flat_map(of).collect()
    });
}

const ADMIN: &str = "admin";

/// Warnings about the certificates of one listener.
pub(super) fn warnings(
    config: &Config,
    listener: &str,
    position: Position,
    certificates: &[Shown],
    now_unix_s: i64,
) -> Vec<Finding> {
    let expiring = certificates.iter().filter_map(|shown| {
        expiring(config, Some(position), &shown.file, shown.not_after_unix_s, now_unix_s)
    });
    let surfaces = config
        .surfaces
        .iter()
        .filter(|surface| surface.listener.as_ref().is_none_or(|named| named.name == listener));
    let strange = surfaces
        .flat_map(|surface| &surface.hosts)
        .filter(|host| !certificates.iter().flat_map(|shown| &shown.hosts).any(|name| is_for(name, host)));
    let strange = strange.map(|host| {
        let star = if host.is_wildcard { "*." } else { "" };
        let message = format!("no certificate of the listener `{listener}` is for `{star}{}`", host.name);
        warning(config, Some(host.position), message)
    });
    expiring.chain(strange).collect()
}

/// A warning about a certificate that is not good for long, or no longer.
pub(super) fn expiring(
    config: &Config,
    position: Option<Position>,
    file: &str,
    not_after_unix_s: i64,
    now_unix_s: i64,
) -> Option<Finding> {
    let left_s = not_after_unix_s - now_unix_s;
    let what = match left_s {
        ..0 => "has expired".to_owned(),
        0..EXPIRY_WARNING_S => format!("expires in {} days", left_s / 86_400),
        _ => return None,
    };
    Some(warning(config, position, format_args!("`{file}` {what}")))
}

/// RFC 6125, section 6.4.3: a wildcard stands for one label. A surface's stands for any number of them, of which
/// at least the first must be covered.
fn is_for(name: &str, host: &Host) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) if host.is_wildcard => parent == host.name,
        Some(parent) => host.name.split_once('.').is_some_and(|(_, rest)| rest == parent),
        None => !host.is_wildcard && name == host.name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::surfaces::Surface;

    const PLACE: Position = Position { line: 1, column: 1 };

    fn check(hosts: &[&str], names: &[&str], days: i64, expected: &[&str]) {
        let host = |text: &&str| Host {
            name: text.trim_start_matches("*.").to_owned(),
            is_wildcard: text.starts_with("*."),
            position: PLACE,
        };
        let surface = Surface { hosts: hosts.iter().map(host).collect(), ..Surface::whole() };
        let config = Config { surfaces: vec![surface], ..Config::default() };
        let hosts = names.iter().map(|name| (*name).to_owned()).collect();
        let shown = Shown { file: "f".to_owned(), hosts, not_after_unix_s: days * 86_400 };
        let found = warnings(&config, "public", PLACE, &[shown], 0);
        let messages: Vec<_> = found.iter().map(|finding| finding.message.as_str()).collect();
        assert_eq!(messages, expected, "{names:?} {days}");
    }

    #[test]
    fn hosts_and_days_are_told() {
        check(&["a.test"], &["a.test"], 14, &[]);
        check(&["a.test"], &["a.test"], 13, &["`f` expires in 13 days"]);
        check(&["a.test"], &["a.test"], -1, &["`f` has expired"]);
        check(&["a.test"], &["*.test"], 90, &[]);
        check(&["a.b.test"], &["*.test"], 90, &["no certificate of the listener `public` is for `a.b.test`"]);
        check(&["*.test"], &["*.test"], 90, &[]);
        check(&["*.test"], &["a.test"], 90, &["no certificate of the listener `public` is for `*.test`"]);
        check(&[], &[], 90, &[]);
    }
}
