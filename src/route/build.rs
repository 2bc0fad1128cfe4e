//! Building the routes: every rule of every method, all errors at once.
//!
//! Rules of a service configuration take the place of a method's annotation. Two rules for the same verb and
//! the same shape of path would leave it to chance which method answers: they are refused, both named, or
//! the first one in the order of the descriptor set stays and a warning tells what was dropped. Aggregates come after
//! all methods, and of those none is ever dropped: whoever wrote one means it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use prost_reflect::MethodDescriptor;

use super::aggregate::{Aggregate, AggregateError, AggregateRule};
use super::binding::{Binding, BindingError};
use super::grow::{Conflict, Seedling, Taken};
use super::request::BindingOptions;
use super::rule::{HttpRule, RuleError};
use super::service_config::SelectedRules;
use super::template::{PathTemplate, SEGMENTS_MAX};
use super::tree::RouteTree;
use crate::codec::selection::Selection;
use crate::schema::Schema;

/// What routes are made of, beside the schema.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Whether a method without a rule is reached as `POST /package.Service/Method`.
    pub unannotated: bool,
    pub conflicts: Conflicts,
    /// In order: the last one for a method counts.
    pub service_config: Vec<SelectedRules>,
    /// Segments of a path; one more is refused.
    pub path_segments_max: usize,
    pub binding: BindingOptions,
}

/// What happens when two rules take the same requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conflicts {
    #[default]
    Refuse,
    /// The first one stays.
    First,
}

/// What keeps the routes from being built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("`{method}`: {error}")]
    Rule { method: String, error: RuleError },
    #[error("{route}: {error}")]
    Binding { route: Route, error: BindingError },
    #[error("{second} takes the same requests as {first} (`conflicts: first` would keep the latter)")]
    Conflict { first: Route, second: Route },
    #[error("http rule for `{selector}`: `{service}` has no such method")]
    Selector { selector: String, service: String },
    #[error("`{} {}` {error}", .rule.verb, .rule.template)]
    Aggregate { place: usize, rule: AggregateRule, error: AggregateError },
}

/// What was left out, but is no reason to refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    #[error("{dropped} is dropped: {kept} takes the same requests and came first")]
    Conflict { kept: Route, dropped: Route },
    #[error("http rule for `{selector}` is unused: no such service")]
    Selector { selector: String },
}

/// A rule, as people find it in their files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Empty for an aggregate.
    pub method: String,
    pub verb: String,
    pub template: String,
}

/// How a method is shown.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Which of the caller's rules holds: [`Binding::rule`].
    pub rule: u32,
    /// What is shown of the method's output: [`Binding::selection`].
    pub selection: Option<Arc<Selection>>,
}

/// A method that is shown, whether or not a rule leads to it.
#[derive(Clone, Debug)]
pub struct Exposed {
    pub method: MethodDescriptor,
    pub shown: Shown,
}

/// Builds all routes of a schema.
pub fn build(schema: &Schema, rules: &Rules) -> Result<(RouteTree, Vec<Warning>), Vec<RouteError>> {
    build_shown(schema, rules, &[], |_| Some(Shown::default()))
}

/// Builds the routes of the methods of which `show` says how they are shown, and of aggregates.
pub fn build_shown(
    schema: &Schema,
    rules: &Rules,
    aggregates: &[AggregateRule],
    mut show: impl FnMut(&MethodDescriptor) -> Option<Shown>,
) -> Result<(RouteTree, Vec<Warning>), Vec<RouteError>> {
    let mut builder = Builder {
        schema,
        rules,
        shown: Shown::default(),
        seedling: Seedling::new(),
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    let overrides = builder.overrides();
    for service in schema.pool().services() {
        for method in service.methods() {
            let Some(shown) = show(&method) else { continue };
            builder.shown = shown;
            builder.method(&method, overrides.get(method.full_name()).copied());
        }
    }
    for (place, rule) in aggregates.iter().enumerate() {
        if let Err(error) = builder.aggregate(place, rule) {
            builder.errors.push(RouteError::Aggregate { place, rule: rule.clone(), error });
        }
    }
    if builder.errors.is_empty() {
        Ok((builder.seedling.into_tree(rules.path_segments_max), builder.warnings))
    } else {
        Err(builder.errors)
    }
}

struct Builder<'a> {
    schema: &'a Schema,
    rules: &'a Rules,
    /// How the method is shown that is being built.
    shown: Shown,
    seedling: Seedling,
    errors: Vec<RouteError>,
    warnings: Vec<Warning>,
}

impl<'a> Builder<'a> {
    /// The service configuration's rules by method, the last ones only.
    fn overrides(&mut self) -> HashMap<&'a str, &'a [HttpRule]> {
        let mut overrides = HashMap::new();
        for SelectedRules { selector, rules } in &self.rules.service_config {
            let (service, name) = selector.rsplit_once('.').unwrap_or(("", selector));
            match self.schema.pool().get_service_by_name(service) {
                // Configurations list mixed-in services, which a set need not contain.
                None => self.warnings.push(Warning::Selector { selector: selector.clone() }),
                Some(found) if found.methods().all(|method| method.name() != name) => {
                    let (selector, service) = (selector.clone(), service.to_owned());
                    self.errors.push(RouteError::Selector { selector, service });
                }
                Some(_) => {
                    overrides.insert(selector.as_str(), rules.as_slice());
                }
            }
        }
        overrides
    }

    fn method(&mut self, method: &MethodDescriptor, rules: Option<&[HttpRule]>) {
        if let Some(rules) = rules {
            rules.iter().for_each(|rule| self.rule(method, rule));
            return;
        }
        let Some(option) = self.schema.http_rule(method) else {
            if self.rules.unannotated {
                let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
                self.rule(method, &HttpRule::unannotated(&path));
            }
            return;
        };
        match HttpRule::parse_all(&option) {
            Ok(rules) => rules.iter().for_each(|rule| self.rule(method, rule)),
            Err(error) => {
                self.errors.push(RouteError::Rule { method: method.full_name().into(), error });
            }
        }
    }

    fn rule(&mut self, method: &MethodDescriptor, rule: &HttpRule) {
        let template = match PathTemplate::parse(&rule.template) {
            Ok(template) => template,
            Err(error) => return self.refuse(method, rule, error.into()),
        };
        match Binding::new(self.schema, method, rule, &template, &self.shown) {
            Err(errors) => errors.into_iter().for_each(|error| self.refuse(method, rule, error)),
            Ok(binding) => {
                if let Err(conflict) = self.seedling.add(&template, binding) {
                    self.conflict(&conflict);
                }
            }
        }
    }

    fn aggregate(&mut self, place: usize, rule: &AggregateRule) -> Result<(), AggregateError> {
        let template = PathTemplate::parse(&rule.template)?;
        let aggregate = Aggregate::new(place, rule, &template);
        self.seedling.add_aggregate(&template, aggregate).map_err(|taken| match taken {
            Taken::Binding(binding) => AggregateError::Method(Route::of(&binding)),
            Taken::Aggregate(other) => AggregateError::Aggregate(other.place),
        })
    }

    fn refuse(&mut self, method: &MethodDescriptor, rule: &HttpRule, error: BindingError) {
        let route = Route {
            method: method.full_name().into(),
            verb: rule.verb.clone(),
            template: rule.template.clone(),
        };
        self.errors.push(RouteError::Binding { route, error });
    }

    fn conflict(&mut self, Conflict { first, second }: &Conflict) {
        let (first, second) = (Route::of_taken(first), Route::of(second));
        match self.rules.conflicts {
            Conflicts::Refuse => self.errors.push(RouteError::Conflict { first, second }),
            Conflicts::First => self.warnings.push(Warning::Conflict { kept: first, dropped: second }),
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            unannotated: false,
            conflicts: Conflicts::default(),
            service_config: Vec::new(),
            path_segments_max: SEGMENTS_MAX,
            binding: BindingOptions::default(),
        }
    }
}

impl Route {
    fn of(binding: &Binding) -> Self {
        Self {
            method: (*binding.method).into(),
            verb: (*binding.verb).into(),
            template: (*binding.template).into(),
        }
    }

    fn of_taken(taken: &Taken) -> Self {
        match taken {
            Taken::Binding(binding) => Self::of(binding),
            Taken::Aggregate(aggregate) => Self {
                method: String::new(),
                verb: (*aggregate.verb).into(),
                template: (*aggregate.template).into(),
            },
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.method.is_empty() {
            return write!(f, "`{} {}`", self.verb, self.template);
        }
        write!(f, "`{}` (`{} {}`)", self.method, self.verb, self.template)
    }
}
