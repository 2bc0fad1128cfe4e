//! Which country and which autonomous system an address belongs to, by a MaxMind DB file.
//!
//! The reader works on bytes that it owns: mapping the file would be faster to load, but a file that is
//! written while it is mapped is undefined behaviour. A file is walked through once when it is opened, so
//! that one which is cut off or damaged is refused, and the old one can stay; what a lookup still trips over
//! is an address of which nothing is known. Files in MaxMind's own form and in IPinfo's are understood.

use core::net::IpAddr;
use std::fmt;

use maxminddb::PathElement::{self, Key};
use maxminddb::Reader;

/// A country or territory by its two letters (ISO 3166-1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

/// What is known of where an address is; each is `None` if its file does not say, or there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub country: Option<Country>,
    /// The number of the autonomous system.
    pub asn: Option<u32>,
}

/// An open database.
pub struct GeoDatabase {
    reader: Reader<Vec<u8>>,
}

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub enum GeoError {
    #[error("expected a MaxMind DB file: {0}")]
    Format(String),
    #[error("expected {expected}, and no record of this `{database_type}` has one")]
    WrongKind { expected: &'static str, database_type: String },
}

/// Where the files of MaxMind and DB-IP have the country, then IPinfo's.
const COUNTRY: [&[PathElement<'static>]; 2] = [&[Key("country"), Key("iso_code")], &[Key("country_code")]];

/// The number, then IPinfo's text `AS64500`.
const ASN: &[PathElement<'static>] = &[Key("autonomous_system_number")];
const ASN_TEXT: &[PathElement<'static>] = &[Key("asn")];

impl GeoDatabase {
    /// Opens a file that says countries.
    ///
    /// # Errors
    ///
    /// See [`GeoError`].
    pub fn of_countries(file: Vec<u8>) -> Result<Self, GeoError> {
        Self::open(file, "countries", |database, address| database.country(address).is_some())
    }

    /// Opens a file that says the numbers of autonomous systems.
    ///
    /// # Errors
    ///
    /// See [`GeoError`].
    pub fn of_systems(file: Vec<u8>) -> Result<Self, GeoError> {
        Self::open(file, "autonomous systems", |database, address| database.asn(address).is_some())
    }

    fn open(
        file: Vec<u8>,
        expected: &'static str,
        says: impl Fn(&Self, IpAddr) -> bool,
    ) -> Result<Self, GeoError> {
        let format = |error: maxminddb::MaxMindDbError| GeoError::Format(error.to_string());
        let database = Self { reader: Reader::from_source(file).map_err(format)? };
        database.reader.verify().map_err(format)?;
        let networks = database.reader.networks(Default::default()).map_err(format)?;
        let mut addresses = networks.take(SAMPLES).filter_map(|found| Some(found.ok()?.network().ok()?.ip()));
        if addresses.any(|address| says(&database, address)) {
            return Ok(database);
        }
        let database_type = database.reader.metadata().database_type.clone();
        Err(GeoError::WrongKind { expected, database_type })
    }

    /// The country of an address, which must be canonical.
    pub fn country(&self, address: IpAddr) -> Option<Country> {
        let record = self.reader.lookup(address).ok()?;
        COUNTRY.iter().find_map(|path| Country::parse(record.decode_path::<&str>(path).ok()??))
    }

    /// The autonomous system of an address, which must be canonical.
    pub fn asn(&self, address: IpAddr) -> Option<u32> {
        let record = self.reader.lookup(address).ok()?;
        if let Ok(Some(number)) = record.decode_path::<u32>(ASN) {
            return Some(number);
        }
        record.decode_path::<&str>(ASN_TEXT).ok()??.strip_prefix("AS")?.parse().ok()
    }
}

/// Records that are looked at to see what a file holds. The first ones may be of networks without a country.
const SAMPLES: usize = 10_000;

impl fmt::Debug for GeoDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GeoDatabase({})", self.reader.metadata().database_type)
    }
}

impl Country {
    /// Two capital letters.
    pub fn parse(text: &str) -> Option<Self> {
        let letters = <[u8; 2]>::try_from(text.as_bytes()).ok()?;
        letters.iter().all(u8::is_ascii_uppercase).then_some(Self(letters))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("two letters")
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
