//! What the options of JSON take from clients: each is told once, and only where some message shows it.

use prost_reflect::{FieldDescriptor, Kind};

use super::{Comparison, Way, value};
use crate::codec::options::{Defaults, Enums, Int64, JsonOptions, Names, Unknown};
use crate::route::{Binding, Body};

impl Comparison<'_> {
    /// The names of two fields; requests are read by either of both.
    pub(super) fn names(&mut self, was: &FieldDescriptor, is: &FieldDescriptor, way: Way) {
        let (before, after) = (self.before.json.names, self.after.json.names);
        let [old, new] = match way {
            Way::Request => [was.json_name(), is.json_name()],
            Way::Reply => [written(was, before), written(is, after)],
        };
        if old == new {
            return;
        }
        if way == Way::Reply && before != after {
            let word = |names| if names == Names::Json { "json" } else { "proto" };
            return self.option("names", word(before), word(after), "fields of replies are called otherwise");
        }
        self.lose(format!("`{}` is `{new}` instead of `{old}` in {}", was.full_name(), way.name()));
    }

    /// What stands in replies behind a name.
    pub(super) fn values_of_replies(&mut self, field: &FieldDescriptor) {
        let (before, after): (JsonOptions, JsonOptions) = (*self.before.json, *self.after.json);
        if (before.defaults, after.defaults) == (Defaults::Emit, Defaults::Omit) && !field.supports_presence()
        {
            self.option("defaults", "emit", "omit", "replies lack what is at its default");
        }
        match value(field) {
            Kind::Enum(_) if before.enums != after.enums => {
                let word = |enums| if enums == Enums::Name { "name" } else { "number" };
                self.option("enums", word(before.enums), word(after.enums), "so are enums in replies");
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64
                if before.int64 != after.int64 =>
            {
                let word = |int64| if int64 == Int64::String { "string" } else { "number" };
                let effect = "so are integers of 64 bits in replies";
                self.option("int64", word(before.int64), word(after.int64), effect);
            }
            _ => {}
        }
    }

    /// What is read of the bodies of requests.
    pub(super) fn reading(&mut self, before: &Binding) {
        if before.body == Body::None || before.raw_request {
            return;
        }
        let (was, is): (JsonOptions, JsonOptions) = (*self.before.json, *self.after.json);
        if (was.unknown, is.unknown) == (Unknown::Ignore, Unknown::Reject) {
            let effect = "fields that nobody knows are refused";
            self.option("unknown_fields", "ignore", "reject", effect);
        }
        if is.depth_max < was.depth_max {
            let [was, is] = [was, is].map(|options| options.depth_max.to_string());
            self.option("depth", &was, &is, "deeper requests are refused");
        }
    }

    fn option(&mut self, key: &str, was: &str, is: &str, effect: &str) {
        self.lose(format!("`json.{key}` is `{is}` instead of `{was}`: {effect}"));
    }
}

/// How replies call a field.
fn written(field: &FieldDescriptor, names: Names) -> &str {
    match names {
        Names::Json => field.json_name(),
        Names::Proto => field.name(),
    }
}
