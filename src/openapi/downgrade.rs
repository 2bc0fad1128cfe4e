//! From OpenAPI 3.1 to 3.0.3, piece by piece: what that version's schemas cannot say is said otherwise, or not.
//!
//! ```text
//! type: [a, null]            →  type: a, nullable: true
//! type: [a, b]               →  anyOf: one for each, with the words that are for its type
//! $ref beside other words    →  allOf: [$ref]
//! anyOf: [x, type: null]     →  x, nullable: true
//! const, examples            →  enum, example
//! contentEncoding: base64    →  format: byte
//! propertyNames              →  nothing
//! ```

use super::json::{Json, Object, object};

/// A piece of the document in the words of 3.0.3.
pub(super) fn downgrade(piece: Json) -> Json {
    match piece {
        Json::List(items) => Json::List(items.into_iter().map(downgrade).collect()),
        Json::Object(object) => Json::Object(downgrade_object(object)),
        scalar => scalar,
    }
}

fn downgrade_object(object: Object) -> Object {
    let mut object = Object(
        object
            .0
            .into_iter()
            .map(|(name, value)| {
                let value = match value {
                    // Names of members are no words of a schema.
                    Json::Object(members) if name == "properties" => {
                        Json::Object(Object(members.0.into_iter().map(|(n, v)| (n, downgrade(v))).collect()))
                    }
                    value => downgrade(value),
                };
                (name, value)
            })
            .collect(),
    );
    if !is_schema(&object) {
        return object;
    }
    if let Some(value) = object.remove("const") {
        object.set("enum", vec![value]);
    }
    if let Some(Json::List(examples)) = object.get("examples") {
        let first = examples.first().cloned();
        object.remove("examples");
        first.into_iter().for_each(|first| {
            object.set("example", first);
        });
    }
    if object.remove("contentEncoding").is_some() {
        object.set("format", "byte");
        // Its own pattern; that of requests has the other alphabet too.
        object.remove("pattern");
    }
    object.remove("propertyNames");
    exclusive(&mut object, "exclusiveMinimum", "minimum");
    exclusive(&mut object, "exclusiveMaximum", "maximum");
    references(&mut object);
    alternatives(&mut object);
    types(object)
}

/// Whether these are the words of a schema: a parameter or a response has none of them.
fn is_schema(object: &Object) -> bool {
    let is_list = |name: &str| matches!(object.get(name), Some(Json::List(_)));
    let is_text = |name: &str| matches!(object.get(name), Some(Json::Text(_)));
    let is_value = |name: &str| object.get(name).is_some_and(|value| !matches!(value, Json::Object(_)));
    is_text("type") && !is_value("scheme") && !is_value("in")
        || is_list("type")
        || is_list("anyOf")
        || is_list("enum")
        || is_value("const")
        || is_text("$ref")
}

/// 3.0: `exclusiveMinimum` is a word about `minimum`.
fn exclusive(object: &mut Object, exclusive: &'static str, bound: &'static str) {
    if let Some(Json::Integer(_) | Json::Number(_)) = object.get(exclusive)
        && let Some(value) = object.remove(exclusive)
    {
        object.set(bound, value);
        object.set(exclusive, true);
    }
}

/// 3.0: what stands beside `$ref` is ignored.
fn references(object: &mut Object) {
    if object.0.len() > 1
        && matches!(object.get("$ref"), Some(Json::Text(_)))
        && let Some(reference) = object.remove("$ref")
    {
        object.set("allOf", vec![self::object("$ref", reference).into()]);
    }
}

fn is_null(form: &Json) -> bool {
    let Json::Object(form) = form else { return false };
    form.get("x-null").is_some()
}

/// `null` as an alternative becomes a word about the others.
fn alternatives(object: &mut Object) {
    let Some(Json::List(forms)) = object.get_mut("anyOf") else { return };
    let before = forms.len();
    forms.retain(|form| !is_null(form));
    if forms.len() == before {
        return;
    }
    if forms.len() == 1 {
        let only = forms.pop();
        object.remove("anyOf");
        object.set("nullable", true);
        match only {
            Some(Json::Object(form)) if form.get("$ref").is_none() => {
                for (name, value) in form.0 {
                    if object.get(&name).is_none() {
                        object.set(name, value);
                    }
                }
            }
            Some(form) => {
                object.set("allOf", vec![form]);
            }
            None => {}
        }
    } else {
        for form in forms {
            if let Json::Object(form) = form {
                form.set("nullable", true);
            }
        }
    }
}

/// Words that are about values of one type.
const OF_TYPE: [(&str, &[&str]); 3] = [
    ("integer", &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]),
    ("number", &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]),
    ("string", &["pattern", "minLength", "maxLength"]),
];

fn types(mut object: Object) -> Object {
    if object.get("type") == Some(&Json::from("null")) {
        object.remove("type");
        // Nothing but `null`: 3.0 has no such type.
        return object.with("x-null", true).with("nullable", true).with("enum", vec![Json::Null]);
    }
    let Some(Json::List(types)) = object.get("type") else { return object };
    let mut types = types.clone();
    let before = types.len();
    types.retain(|one| *one != Json::from("null"));
    let is_nullable = types.len() < before;
    object.remove("type");
    if let [only] = types.as_slice() {
        let mut typed = self::object("type", only.clone());
        typed = typed.with_all(object);
        return if is_nullable { typed.with("nullable", true) } else { typed };
    }
    let mut forms: Vec<Object> = Vec::new();
    for one in types {
        let mut form = self::object("type", one.clone());
        for (of, words) in OF_TYPE {
            if one != Json::from(of) {
                continue;
            }
            for word in words {
                if let Some(value) = object.get(word) {
                    form.set(*word, value.clone());
                }
            }
        }
        if let Some(format) = object.get("format") {
            form.set("format", format.clone());
        }
        if is_nullable {
            form.set("nullable", true);
        }
        forms.push(form);
    }
    for (_, words) in OF_TYPE {
        words.iter().for_each(|word| {
            object.remove(word);
        });
    }
    object.remove("format");
    object.set("anyOf", forms.into_iter().map(Json::from).collect::<Vec<_>>());
    object
}
