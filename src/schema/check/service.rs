//! Services: methods and the messages they take and return.

use std::collections::HashSet;

use super::super::raw::{self, ServiceDescriptorProto};
use super::super::symbols::Kind;
use super::{Checker, Problem};

impl Checker<'_> {
    pub(super) fn service(&mut self, service: &mut ServiceDescriptorProto) {
        self.options::<raw::OtherOptions>(service.options.as_ref());
        let mut names: HashSet<String> = HashSet::with_capacity(service.method.len());
        for (method, index) in service.method.iter_mut().zip(0..) {
            let is_first = names.insert(method.name().to_owned());
            self.within("method", method.name.clone(), index, |checker| {
                checker.options::<raw::OtherOptions>(method.options.as_ref());
                if !is_first {
                    checker.add(Problem::DuplicateName(method.name().to_owned()));
                }
                checker.method_type("input", &mut method.input_type);
                checker.method_type("output", &mut method.output_type);
            });
        }
    }

    fn method_type(&mut self, what: &'static str, name: &mut Option<String>) {
        let Some(given) = name.as_deref().filter(|name| !name.is_empty()) else {
            return self.add(Problem::NoMethodType(what));
        };
        if let Some((full_name, _)) = self.resolve(given, "a message", &[Kind::Message]) {
            *name = Some(format!(".{full_name}"));
        }
    }
}
