//! Certificates and keys in PEM, as both sides of TLS need them: a chain with its key, and authorities.
//!
//! What is wrong is told by the name of the text, which is a path of the operator; what is wrong with a key is not
//! told at all, because it might tell of the key.

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// A text in PEM.
#[derive(Clone, Copy, Debug)]
pub struct Pem<'m> {
    /// What errors call it.
    pub name: &'m str,
    pub text: &'m [u8],
}

/// What a text should have held.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    #[error("`{0}`: expected a certificate in PEM, found none")]
    NoCertificate(String),
    #[error("`{0}`: the certificates are not in PEM: {1}")]
    Certificate(String, pem::Error),
    #[error("`{0}`: expected a private key in PEM")]
    Key(String),
    #[error("`{key}` is not the key of `{chain}`")]
    Mismatch { chain: String, key: String },
    #[error("`{chain}`: {error}")]
    Pair { chain: String, error: rustls::Error },
    #[error("`{0}`: {1}")]
    Authority(String, rustls::Error),
}

impl Pem<'_> {
    /// The certificate first in this text, with those behind it and its key.
    ///
    /// # Errors
    ///
    /// Which of both is not what it should be.
    pub fn certified(self, key: Self, provider: &CryptoProvider) -> Result<CertifiedKey, PemError> {
        let chain_der = self.certificates()?;
        let key_der =
            PrivateKeyDer::from_pem_slice(key.text).map_err(|_| PemError::Key(key.name.to_owned()))?;
        CertifiedKey::from_der(chain_der, key_der, provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                PemError::Mismatch { chain: self.name.to_owned(), key: key.name.to_owned() }
            }
            rustls::Error::General(_) => PemError::Key(key.name.to_owned()),
            error => PemError::Pair { chain: self.name.to_owned(), error },
        })
    }

    /// Those who are believed, and nobody else.
    ///
    /// # Errors
    ///
    /// It holds no certificate, or one of which no authority can be made.
    pub fn authorities(self) -> Result<RootCertStore, PemError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots.add(certificate).map_err(|error| PemError::Authority(self.name.to_owned(), error))?;
        }
        Ok(roots)
    }

    /// All certificates, at least one.
    fn certificates(self) -> Result<Vec<CertificateDer<'static>>, PemError> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(self.text).collect();
        let certificates =
            certificates.map_err(|error| PemError::Certificate(self.name.to_owned(), error))?;
        if certificates.is_empty() {
            return Err(PemError::NoCertificate(self.name.to_owned()));
        }
        Ok(certificates)
    }
}
