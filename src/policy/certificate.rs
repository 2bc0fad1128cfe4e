//! What a client's certificate says of its holder, read once for a connection.
//!
//! That the certificate is good has been judged before: here is nothing but its names. A name that holds a
//! control character or is not text makes the whole certificate unreadable: what such a name is taken for
//! depends on the reader (CVE-2009-2408).

use std::fmt;

use aws_lc_rs::digest;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// The holder of a client certificate that has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Subject alternative names by kind, in the order of the certificate.
    pub uris: Box<[Box<str>]>,
    pub dns_names: Box<[Box<str>]>,
    pub emails: Box<[Box<str>]>,
    /// The subject's common name; none if there are several.
    pub common_name: Option<Box<str>>,
    pub fingerprint: Fingerprint,
    /// The last second in which it is good, in seconds since 1970.
    pub not_after_unix_s: i64,
}

/// SHA-256 of a whole certificate; shown in hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// Why a certificate says nothing of its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("the certificate is not in DER")]
    Malformed,
    #[error("a name of the certificate is not text")]
    Name,
}

/// The last second in which a certificate in DER is good, in seconds since 1970; 0 of what is none.
pub fn not_after_unix_s(der: &[u8]) -> i64 {
    X509Certificate::from_der(der).map_or(0, |(_, certificate)| certificate.validity().not_after.timestamp())
}

impl ClientCertificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    ///
    /// It is none, or one of its names is not plain text.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
        if !rest.is_empty() {
            return Err(CertificateError::Malformed);
        }
        let (mut uris, mut dns_names, mut emails) = (Vec::new(), Vec::new(), Vec::new());
        let alternatives = certificate.subject_alternative_name().map_err(|_| CertificateError::Malformed)?;
        for name in alternatives.iter().flat_map(|alternatives| &alternatives.value.general_names) {
            match name {
                GeneralName::URI(uri) => uris.push(plain(uri)?),
                GeneralName::DNSName(name) => dns_names.push(plain(name)?),
                GeneralName::RFC822Name(email) => emails.push(plain(email)?),
                GeneralName::Invalid(..) => return Err(CertificateError::Name),
                _ => {}
            }
        }
        Ok(Self {
            uris: uris.into(),
            dns_names: dns_names.into(),
            emails: emails.into(),
            common_name: common_name(&certificate)?,
            fingerprint: Fingerprint::of(der),
            not_after_unix_s: certificate.validity().not_after.timestamp(),
        })
    }
}

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    fn of(der: &[u8]) -> Self {
        let mut bytes = [0; 32];
        let digest = digest::digest(&digest::SHA256, der);
        bytes.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Of several names nobody knows which one is meant, so there is none.
fn common_name(certificate: &X509Certificate<'_>) -> Result<Option<Box<str>>, CertificateError> {
    let mut names = certificate.subject().iter_common_name();
    let (Some(name), None) = (names.next(), names.next()) else { return Ok(None) };
    plain(name.as_str().map_err(|_| CertificateError::Name)?).map(Some)
}

fn plain(name: &str) -> Result<Box<str>, CertificateError> {
    if name.chars().any(char::is_control) { Err(CertificateError::Name) } else { Ok(name.into()) }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(common_name: Option<&str>, names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.subject_alt_names = names;
        params.not_after = rcgen::date_time_ymd(2100, 1, 2);
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    fn text(name: &str) -> rcgen::string::Ia5String {
        name.try_into().expect("ASCII")
    }

    #[test]
    fn names_are_read_by_kind() {
        let der = certificate(
            Some("billing"),
            vec![
                SanType::URI(text("spiffe://shop/billing")),
                SanType::DnsName(text("billing.shop")),
                SanType::Rfc822Name(text("ops@shop")),
                SanType::IpAddress([10, 0, 0, 1].into()),
                SanType::URI(text("urn:b")),
            ],
        );
        let certificate = ClientCertificate::parse(&der).expect("a certificate");
        let check = |names: &[Box<str>], expected: &[&str]| {
            assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), expected);
        };
        check(&certificate.uris, &["spiffe://shop/billing", "urn:b"]);
        check(&certificate.dns_names, &["billing.shop"]);
        check(&certificate.emails, &["ops@shop"]);
        assert_eq!(certificate.common_name.as_deref(), Some("billing"));
        assert_eq!(certificate.not_after_unix_s, 4_102_531_200);
        assert_eq!(certificate.fingerprint, Fingerprint::of(&der));
    }

    #[test]
    fn a_certificate_may_say_nothing() {
        let certificate = ClientCertificate::parse(&certificate(None, vec![])).expect("a certificate");
        assert_eq!((certificate.common_name, certificate.uris.len()), (None, 0));
    }

    #[test]
    fn control_characters_and_cuts_are_refused() {
        let check = |der: &[u8], expected| assert_eq!(ClientCertificate::parse(der), Err(expected));
        check(&certificate(Some("a\0b"), vec![]), CertificateError::Name);
        check(&certificate(None, vec![SanType::URI(text("urn:a\0b"))]), CertificateError::Name);
        let good = certificate(Some("a"), vec![]);
        for end in 0..good.len() {
            check(&good[..end], CertificateError::Malformed);
        }
        check(&[&good[..], &[0]].concat(), CertificateError::Malformed);
    }

    #[test]
    fn fingerprints_are_shown_in_hexadecimal() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Fingerprint::of(b"").to_string(), empty);
    }
}
