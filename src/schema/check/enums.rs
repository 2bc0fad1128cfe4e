//! Enums: values, their numbers, aliases, reserved ranges.
//!
//! The names of values belong to the scope around the enum and are compared there.

use std::collections::{HashMap, HashSet};

use super::super::raw::{self, EnumDescriptorProto};
use super::{Checker, Problem, Syntax};

impl Checker<'_> {
    pub(super) fn enumeration(&mut self, enumeration: &EnumDescriptorProto) {
        let options: raw::EnumOptions = self.options(enumeration.options.as_ref());
        match enumeration.value.first() {
            None => self.add(Problem::EmptyEnum),
            Some(first) if self.syntax == Syntax::Proto3 && first.number() != 0 => {
                self.add(Problem::FirstValue);
            }
            Some(_) => {}
        }
        for range in &enumeration.reserved_range {
            let (start, end) = (range.start(), range.end());
            if start > end {
                self.add(Problem::Range { what: "reserved", start, end });
            }
        }
        let reserved: HashSet<&str> = enumeration.reserved_name.iter().map(String::as_str).collect();
        let mut numbers: HashMap<i32, &str> = HashMap::with_capacity(enumeration.value.len());
        for (value, index) in enumeration.value.iter().zip(0..) {
            let number = value.number();
            let other = numbers.insert(number, value.name()).filter(|_| !options.allow_alias());
            self.within("enum value", value.name.clone(), index, |checker| {
                checker.options::<raw::OtherOptions>(value.options.as_ref());
                if value.number.is_none() {
                    return checker.add(Problem::NoNumber);
                }
                if let Some(other) = other {
                    checker.add(Problem::DuplicateNumber { number, other: other.to_owned() });
                }
                let ranges = &enumeration.reserved_range;
                if ranges.iter().any(|range| range.start() <= number && number <= range.end()) {
                    checker.add(Problem::NumberReserved(number));
                }
                if reserved.contains(value.name()) {
                    checker.add(Problem::NameReserved);
                }
            });
        }
    }
}
