//! What request message captures, query and body make together, and which requests are refused.
//! The wire bytes are read by prost-reflect and shown as JSON, fields in order of their numbers.

use prost_reflect::DynamicMessage;

use super::{rules, usual};
use crate::codec::options::{JsonOptions, Unknown};
use crate::route::{
    Binding, BindingOptions, Match, OnConflict, Request, RequestBody, UnboundBody, UnknownQuery, build,
};
use crate::status::{Code, Status};

/// The message as JSON, or the refusal with the place it names.
fn assembled(options: &BindingOptions, json: &JsonOptions, rule: &str, request: &str, body: &str) -> String {
    let (tree, _) = build(usual(), &rules(&[rule])).expect("valid rule");
    let verb = rule.split(' ').nth(1).expect("a verb");
    let (path, query) = request.split_once('?').map_or((request, None), |(path, query)| (path, Some(query)));
    let Match::Found { binding, captures } = tree.find(verb, path) else { panic!("{request} is no route") };
    let body = if binding.raw_request {
        RequestBody::Raw { content_type: Some("text/plain"), data: body.as_bytes() }
    } else {
        RequestBody::Json(body.as_bytes())
    };
    let request = Request { captures: &captures, query, body };
    // What is there already stays.
    let mut out = b"prefix".to_vec();
    match binding.assemble(usual(), json, options, request, &mut out) {
        Ok(()) => shown(binding, out.strip_prefix(b"prefix").expect("kept")),
        Err(status) => refusal(&status),
    }
}

fn shown(binding: &Binding, wire: &[u8]) -> String {
    let descriptor = usual().descriptor(binding.input).clone();
    let message = DynamicMessage::decode(descriptor, wire).expect("a valid message");
    serde_json::to_string(&message).expect("a message serializes")
}

/// The message; every field it names in backquotes first must be the one of the violation.
fn refusal(status: &Status) -> String {
    assert_eq!(status.code, Code::InvalidArgument);
    if let [detail] = &*status.details {
        let field = status.message.split('`').nth(1).unwrap_or_default();
        let named = detail.value.windows(field.len().max(1)).any(|window| window == field.as_bytes());
        assert!(named || field.is_empty(), "{field} is not in {:?}", detail.value);
    }
    status.message.to_string()
}

fn check(rule: &str, cases: &[(&str, &str, &str)]) {
    check_with(&BindingOptions::default(), rule, cases);
}

fn check_with(options: &BindingOptions, rule: &str, cases: &[(&str, &str, &str)]) {
    for (request, body, expected) in cases {
        let found = assembled(options, &JsonOptions::default(), rule, request, body);
        assert_eq!(found, *expected, "{rule}: {request} {body}");
    }
}

#[test]
fn captures_become_fields() {
    for (rule, path, expected) in [
        ("A GET /{name}", "/x", r#"{"name":"x"}"#),
        ("A GET /{name=a/*}/{parent}", "/a/1/p", r#"{"name":"a/1","parent":"p"}"#),
        ("A GET /{name=**}", "/", "{}"),
        ("A GET /{book.name}", "/x", r#"{"book":{"name":"x"}}"#),
        ("A GET /{book.author.name}/{book.name}", "/a/b", r#"{"book":{"name":"b","author":{"name":"a"}}}"#),
        (
            "A GET /{book.author.born}",
            "/1970-01-01T00:00:01Z",
            r#"{"book":{"author":{"born":"1970-01-01T00:00:01Z"}}}"#,
        ),
        ("A GET /{page_size}", "/-7", r#"{"pageSize":-7}"#),
        ("A GET /{big}", "/9007199254740993", r#"{"big":"9007199254740993"}"#),
        ("A GET /{kind}", "/NOVEL", r#"{"kind":"NOVEL"}"#),
        ("A GET /{kind}", "/2", r#"{"kind":"POEM"}"#),
        ("A GET /{flag}", "/true", r#"{"flag":true}"#),
        ("A GET /{data}", "/-_8", r#"{"data":"+/8="}"#),
        ("A GET /{count}", "/5", r#"{"count":5}"#),
        ("A GET /{maybe}", "/%20", r#"{"maybe":" "}"#),
        ("A GET /{deep.deep.leaf}", "/x", r#"{"deep":{"deep":{"leaf":"x"}}}"#),
        ("A GET /{page_size}", "/x", "`pageSize`: expected an integer"),
        ("A GET /{page_size}", "/1.5", "`pageSize`: expected an integer"),
        ("A GET /{page_size}", "/2147483648", "`pageSize`: out of range for int32"),
        ("A GET /{book.pages}", "/x", "`book.pages`: expected an integer"),
        ("A GET /{flag}", "/1", "`flag`: expected `true` or `false`"),
    ] {
        check(rule, &[(path, "", expected)]);
    }
    let long = "x".repeat(300);
    let expected = format!(r#"{{"book":{{"author":{{"name":"{long}"}}}}}}"#);
    check("A GET /{book.author.name}", &[(&format!("/{long}"), "", &expected)]);
}

#[test]
fn query_parameters_become_fields() {
    check(
        "A GET /",
        &[
            ("/", "", "{}"),
            ("/?", "", "{}"),
            ("/?&&", "", "{}"),
            ("/?name=x", "", r#"{"name":"x"}"#),
            ("/?name=", "", "{}"),
            ("/?name", "", "{}"),
            ("/?name=a=b", "", r#"{"name":"a=b"}"#),
            ("/?name=a+b%2Bc", "", r#"{"name":"a b+c"}"#),
            ("/?name=%C3%A9%252F", "", r#"{"name":"é%2F"}"#),
            ("/?n%61me=x", "", r#"{"name":"x"}"#),
            ("/?pageSize=3", "", r#"{"pageSize":3}"#),
            ("/?page_size=3&name=x", "", r#"{"name":"x","pageSize":3}"#),
            ("/?renamed=x", "", r#"{"renamed":"x"}"#),
            ("/?custom=x", "", r#"{"renamed":"x"}"#),
            ("/?tags=a&tags=b&tags=a", "", r#"{"tags":["a","b","a"]}"#),
            ("/?numbers=3&name=x&numbers=1", "", r#"{"name":"x","numbers":[3,1]}"#),
            ("/?more_kinds=POEM&moreKinds=1", "", r#"{"moreKinds":["POEM","NOVEL"]}"#),
            (
                "/?times=1970-01-01T00:00:00Z&times=1970-01-01T00:00:01Z",
                "",
                r#"{"times":["1970-01-01T00:00:00Z","1970-01-01T00:00:01Z"]}"#,
            ),
            ("/?book.name=x&book.author.name=y", "", r#"{"book":{"name":"x","author":{"name":"y"}}}"#),
            ("/?book.tags=a&book.tags=b", "", r#"{"book":{"tags":["a","b"]}}"#),
            ("/?kind=POEM", "", r#"{"kind":"POEM"}"#),
            ("/?kind=1", "", r#"{"kind":"NOVEL"}"#),
            ("/?flag=true&big=-1&small=4294967295", "", r#"{"flag":true,"big":"-1","small":4294967295}"#),
            ("/?ratio=NaN&single=-Infinity", "", r#"{"ratio":"NaN","single":"-Infinity"}"#),
            ("/?ratio=1e3", "", r#"{"ratio":1000.0}"#),
            ("/?data=%2B/8=", "", r#"{"data":"+/8="}"#),
            ("/?time=2020-01-01T00:00:00%2B01:00", "", r#"{"time":"2019-12-31T23:00:00Z"}"#),
            ("/?delay=1.5s", "", r#"{"delay":"1.500s"}"#),
            ("/?update_mask=name,pageSize", "", r#"{"updateMask":"name,pageSize"}"#),
            ("/?count=0&note=", "", r#"{"count":0,"note":""}"#),
            ("/?maybe=", "", r#"{"maybe":""}"#),
            ("/?left=x", "", r#"{"left":"x"}"#),
            ("/?middle.name=x&middle.title=y", "", r#"{"middle":{"name":"x","title":"y"}}"#),
        ],
    );
}

#[test]
fn map_entries_are_set_by_key() {
    check(
        "A GET /",
        &[
            ("/?labels[a]=b", "", r#"{"labels":{"a":"b"}}"#),
            ("/?labels.a=b", "", r#"{"labels":{"a":"b"}}"#),
            ("/?labels[a.b]=c", "", r#"{"labels":{"a.b":"c"}}"#),
            ("/?labels.a.b=c", "", r#"{"labels":{"a.b":"c"}}"#),
            ("/?labels%5Ba%5D=b", "", r#"{"labels":{"a":"b"}}"#),
            ("/?labels[a]]=b", "", r#"{"labels":{"a]":"b"}}"#),
            ("/?labels[]=b", "", r#"{"labels":{"":"b"}}"#),
            ("/?kinds[7]=POEM", "", r#"{"kinds":{"7":"POEM"}}"#),
            ("/?book.labels.k=v", "", r#"{"book":{"labels":{"k":"v"}}}"#),
            ("/?labels=b", "", "`labels`: a map entry needs its key: `labels[key]`"),
            ("/?labels[a=b", "", "`labels[a`: a map entry needs its key: `labels[key]`"),
            ("/?labels[a]=1&labels.a=2", "", "`labels[a]`: given more than once"),
            ("/?kinds[7]=POEM&kinds[07]=NOVEL", "", "`kinds[7]`: given more than once"),
            ("/?kinds[0]=POEM&kinds.-0=NOVEL", "", "`kinds[0]`: given more than once"),
            ("/?kinds[%2B1]=POEM", "", "`kinds[+1]`: expected an integer"),
            ("/?labels[07]=a", "", r#"{"labels":{"07":"a"}}"#),
            ("/?kinds[x]=POEM", "", "`kinds[x]`: expected an integer"),
            ("/?kinds[1]=PROSE", "", "`kinds[1]`: `t.Kind` has no such value"),
            (
                "/?shelf[a]=b",
                "",
                "`shelf[a]`: repeated messages and maps of messages cannot be query parameters",
            ),
            (
                "/?shelf.a.name=b",
                "",
                "`shelf.a.name`: repeated messages and maps of messages cannot be query parameters",
            ),
        ],
    );
}

#[test]
fn bad_query_parameters_are_refused() {
    check(
        "A GET /",
        &[
            ("/?nam=x", "", "`nam`: unknown query parameter"),
            ("/?Name=x", "", "`Name`: unknown query parameter"),
            ("/?=x", "", "unknown query parameter"),
            ("/?book.nam=x", "", "`book.nam`: unknown query parameter"),
            ("/?book.=x", "", "`book.`: unknown query parameter"),
            ("/?.name=x", "", "`.name`: unknown query parameter"),
            ("/?name.x=x", "", "`name.x`: unknown query parameter"),
            ("/?name[]=x", "", "`name[]`: unknown query parameter"),
            ("/?tags[]=x", "", "`tags[]`: unknown query parameter"),
            ("/?tags[0]=x", "", "`tags[0]`: unknown query parameter"),
            ("/?time.seconds=1", "", "`time.seconds`: unknown query parameter"),
            ("/?count.value=1", "", "`count.value`: unknown query parameter"),
            ("/?extra.a=1", "", "`extra.a`: unknown query parameter"),
            ("/?[t.ext]=1", "", "`[t.ext]`: unknown query parameter"),
            ("/?book=x", "", "`book`: a message cannot be a query parameter: name its fields"),
            ("/?extra={}", "", "`extra`: a message cannot be a query parameter: name its fields"),
            ("/?books=x", "", "`books`: repeated messages and maps of messages cannot be query parameters"),
            (
                "/?books.name=x",
                "",
                "`books.name`: repeated messages and maps of messages cannot be query parameters",
            ),
            ("/?name=a&name=a", "", "`name`: given more than once"),
            ("/?page_size=1&pageSize=2", "", "`pageSize`: given more than once"),
            ("/?book.name=a&book.name=b", "", "`book.name`: given more than once"),
            ("/?update_mask=a&update_mask=b", "", "`updateMask`: given more than once"),
            ("/?pageSize=", "", "`pageSize`: expected an integer"),
            ("/?pageSize=1.5", "", "`pageSize`: expected an integer"),
            ("/?small=-1", "", "`small`: out of range for uint32"),
            ("/?flag=TRUE", "", "`flag`: expected `true` or `false`"),
            ("/?flag=", "", "`flag`: expected `true` or `false`"),
            ("/?kind=PROSE", "", "`kind`: `t.Kind` has no such value"),
            ("/?numbers=1,2", "", "`numbers`: expected an integer"),
            ("/?data=%25", "", "`data`: expected base64"),
            ("/?left=x&right=1", "", "`right`: excludes `left`, a member of the same oneof"),
            ("/?left=x&middle.name=y", "", "`middle.name`: excludes `left`, a member of the same oneof"),
            (
                "/?book.hard=x&book.soft=y",
                "",
                "`book.soft`: excludes `book.hard`, a member of the same oneof",
            ),
            ("/?name=%", "", "`name`: a malformed value: `%` is not followed by two hexadecimal digits"),
            ("/?name=%f", "", "`name`: a malformed value: `%` is not followed by two hexadecimal digits"),
            ("/?name=%ff", "", "`name`: a malformed value: escapes that are not UTF-8"),
            ("/?name=%c0%af", "", "`name`: a malformed value: escapes that are not UTF-8"),
            ("/?n%=x", "", "`n%`: a malformed name: `%` is not followed by two hexadecimal digits"),
        ],
    );
}

#[test]
fn query_names_nest_as_deep_as_json() {
    let json = JsonOptions { depth_max: 3, ..JsonOptions::default() };
    for (request, expected) in [
        ("/?deep.deep.leaf=x", r#"{"deep":{"deep":{"leaf":"x"}}}"#),
        ("/?deep.deep.deep.leaf=x", "`deep.deep.deep.leaf`: nests deeper than 3"),
    ] {
        assert_eq!(assembled(&BindingOptions::default(), &json, "A GET /", request, ""), expected);
    }
}

#[test]
fn a_query_has_at_most_200_parameters() {
    let query = |count: usize| format!("/?{}", vec!["numbers=1"; count].join("&"));
    let expected = format!("{{\"numbers\":[{}]}}", vec!["1"; 200].join(","));
    check(
        "A GET /",
        &[(&query(200), "", &expected), (&query(201), "", "the query has more than 200 parameters")],
    );
}

#[test]
fn unknown_query_parameters_may_pass() {
    let options =
        BindingOptions { ignored_query: vec!["$fields".into(), "name".into()], ..BindingOptions::default() };
    check_with(
        &options,
        "A GET /",
        &[
            ("/?$fields=x&parent=y", "", r#"{"parent":"y"}"#),
            ("/?%24fields=x&%24fields=%", "", "{}"),
            // Known or not: who lists a name means it.
            ("/?name=x", "", "{}"),
            ("/?fields=x", "", "`fields`: unknown query parameter"),
        ],
    );
    let options = BindingOptions { unknown_query: UnknownQuery::Ignore, ..BindingOptions::default() };
    check_with(
        &options,
        "A GET /",
        &[
            ("/?x=y&name=z&name.x=1", "", r#"{"name":"z"}"#),
            ("/?book=x", "", "`book`: a message cannot be a query parameter: name its fields"),
            ("/?pageSize=x", "", "`pageSize`: expected an integer"),
        ],
    );
    check_with(&options, "A POST / *", &[("/?name=z", r#"{"name":"a"}"#, r#"{"name":"a"}"#)]);
}

#[test]
fn an_unknown_enum_name_is_ignored_with_unknown_fields() {
    let json = JsonOptions { unknown: Unknown::Ignore, ..JsonOptions::default() };
    for (rule, request, expected) in [
        ("A GET /", "/?kind=PROSE&name=x", r#"{"name":"x"}"#),
        ("A GET /{kind}", "/PROSE", "{}"),
        ("A GET /", "/?more_kinds=PROSE&more_kinds=POEM", r#"{"moreKinds":["POEM"]}"#),
    ] {
        assert_eq!(assembled(&BindingOptions::default(), &json, rule, request, ""), expected, "{request}");
    }
}

#[test]
fn a_body_is_the_whole_request_or_one_field() {
    check(
        "A POST / *",
        &[
            ("/", "", "{}"),
            ("/", "{}", "{}"),
            ("/", r#"{"name":"x","book":{"pages":1}}"#, r#"{"name":"x","book":{"pages":1}}"#),
            ("/?name=x", "", "`name`: unknown query parameter"),
            ("/?x=y", "{}", "`x`: unknown query parameter"),
        ],
    );
    check(
        "A POST / book",
        &[
            ("/", "", "{}"),
            ("/", "null", "{}"),
            ("/", "{}", r#"{"book":{}}"#),
            ("/", r#"{"name":"x"}"#, r#"{"book":{"name":"x"}}"#),
            ("/?name=y&tags=z", r#"{"name":"x"}"#, r#"{"name":"y","book":{"name":"x"},"tags":["z"]}"#),
            ("/?book.title=y", r#"{"name":"x"}"#, "`book.title`: part of the body, so not of the query"),
            ("/?book.title=y", "", "`book.title`: part of the body, so not of the query"),
        ],
    );
    check("A POST / tags", &[("/", r#"["a","b"]"#, r#"{"tags":["a","b"]}"#), ("/", "[]", "{}")]);
    check("A POST / page_size", &[("/", "7", r#"{"pageSize":7}"#)]);
    check("A POST / labels", &[("/", r#"{"a":"b"}"#, r#"{"labels":{"a":"b"}}"#)]);
    check(
        "A POST / left",
        &[
            ("/", r#""x""#, r#"{"left":"x"}"#),
            ("/?right=1", r#""x""#, "`right`: excludes `left`, a member of the same oneof"),
            ("/?right=1", "", r#"{"right":1}"#),
        ],
    );
}

#[test]
fn a_body_that_no_rule_binds_is_refused() {
    check(
        "A GET /{name}",
        &[("/x", "", r#"{"name":"x"}"#), ("/x", "{}", "this method takes no request body")],
    );
    let options = BindingOptions { unbound_body: UnboundBody::Ignore, ..BindingOptions::default() };
    check_with(&options, "A GET /{name}", &[("/x", "not JSON", r#"{"name":"x"}"#)]);
}

#[test]
fn a_query_never_overrides_the_path() {
    check(
        "A GET /{name}",
        &[
            ("/x?name=x", "", r#"{"name":"x"}"#),
            ("/x?name=y", "", "`name`: one value in the path, another in the query"),
            ("/x?name=x&name=x", "", "`name`: given more than once"),
            ("/x?parent=y", "", r#"{"name":"x","parent":"y"}"#),
        ],
    );
    check(
        "A GET /{page_size}",
        &[
            ("/7?pageSize=7", "", r#"{"pageSize":7}"#),
            ("/7?pageSize=8", "", "`pageSize`: one value in the path, another in the query"),
            ("/7?pageSize=x", "", "`pageSize`: expected an integer"),
        ],
    );
    check(
        "A GET /{kind}",
        &[
            ("/1?kind=NOVEL", "", r#"{"kind":"NOVEL"}"#),
            ("/1?kind=POEM", "", "`kind`: one value in the path, another in the query"),
        ],
    );
    check("A GET /{left}", &[("/x?right=1", "", "`right`: excludes `left`, a member of the same oneof")]);
}

#[test]
fn a_body_never_overrides_the_path() {
    check(
        "A POST /{name} *",
        &[
            ("/x", r#"{"name":"x"}"#, r#"{"name":"x"}"#),
            ("/x", r#"{"parent":"y"}"#, r#"{"name":"x","parent":"y"}"#),
            ("/x", r#"{"name":"y"}"#, "`name`: one value in the path, another in the body"),
            // Without presence, the default is no value.
            ("/x", r#"{"name":""}"#, r#"{"name":"x"}"#),
            ("/x", r#"{"book":{"name":"y"}}"#, r#"{"name":"x","book":{"name":"y"}}"#),
        ],
    );
    check(
        "A POST /{maybe} *",
        &[("/x", r#"{"maybe":""}"#, "`maybe`: one value in the path, another in the body")],
    );
    check(
        "A POST /{book.author.name} *",
        &[
            ("/x", r#"{"book":{"author":{"name":"x"}}}"#, r#"{"book":{"author":{"name":"x"}}}"#),
            ("/x", r#"{"book":{"title":"t"}}"#, r#"{"book":{"title":"t","author":{"name":"x"}}}"#),
            (
                "/x",
                r#"{"book":{"title":"t","author":{"name":"y"}}}"#,
                "`book.author.name`: one value in the path, another in the body",
            ),
            ("/x", r#"{"name":"y"}"#, r#"{"name":"y","book":{"author":{"name":"x"}}}"#),
        ],
    );
    check(
        "A POST /{book.name} book",
        &[
            ("/x", "", r#"{"book":{"name":"x"}}"#),
            ("/x", r#"{"title":"t","pages":3}"#, r#"{"book":{"name":"x","title":"t","pages":3}}"#),
            ("/x", r#"{"name":"y"}"#, "`book.name`: one value in the path, another in the body"),
        ],
    );
    check(
        "A POST /{left} *",
        &[("/x", r#"{"right":1}"#, "`left`: excludes `right`, a member of the same oneof")],
    );
    check(
        "A POST /{book.hard} *",
        &[
            (
                "/x",
                r#"{"book":{"soft":"s"}}"#,
                "`book.hard`: excludes `book.soft`, a member of the same oneof",
            ),
            ("/x", r#"{"book":{"title":"t"}}"#, r#"{"book":{"title":"t","hard":"x"}}"#),
        ],
    );
    check(
        "A POST /{count} *",
        &[
            ("/1", r#"{"count":1}"#, r#"{"count":1}"#),
            ("/1", r#"{"count":0}"#, "`count`: one value in the path, another in the body"),
        ],
    );
}

#[test]
fn the_path_may_win_instead() {
    let options = BindingOptions { on_conflict: OnConflict::Capture, ..BindingOptions::default() };
    check_with(&options, "A GET /{name}", &[("/x?name=y", "", r#"{"name":"x"}"#)]);
    check_with(
        &options,
        "A POST /{book.name} *",
        &[("/x", r#"{"book":{"name":"y","title":"t"}}"#, r#"{"book":{"name":"x","title":"t"}}"#)],
    );
    check_with(&options, "A POST /{left} *", &[("/x", r#"{"right":1}"#, r#"{"left":"x"}"#)]);
}

#[test]
fn a_patch_without_a_mask_gets_the_bodys_paths() {
    check(
        "A PATCH /{name} book",
        &[
            ("/x", r#"{"title":"t"}"#, r#"{"name":"x","book":{"title":"t"},"updateMask":"title"}"#),
            (
                "/x",
                r#"{"title":"t","author":{"name":"a"},"tags":["u"],"labels":{"k":"v"},"pages":null}"#,
                r#"{"name":"x","book":{"title":"t","author":{"name":"a"},"tags":["u"],"labels":{"k":"v"}},"updateMask":"title,author.name,tags,labels,pages"}"#,
            ),
            ("/x", "{}", r#"{"name":"x","book":{}}"#),
            ("/x", "", r#"{"name":"x"}"#),
            ("/x", "null", r#"{"name":"x"}"#),
            (
                "/x?updateMask=pages",
                r#"{"title":"t"}"#,
                r#"{"name":"x","book":{"title":"t"},"updateMask":"pages"}"#,
            ),
            ("/x?update_mask=*", r#"{"title":"t"}"#, r#"{"name":"x","book":{"title":"t"},"updateMask":"*"}"#),
            ("/x?update_mask=", r#"{"title":"t"}"#, r#"{"name":"x","book":{"title":"t"},"updateMask":""}"#),
        ],
    );
    // Another verb, no message, the whole request: no mask is made.
    check("A PUT / book", &[("/", r#"{"title":"t"}"#, r#"{"book":{"title":"t"}}"#)]);
    check("A PATCH / tags", &[("/", r#"["a"]"#, r#"{"tags":["a"]}"#)]);
    check("A PATCH / time", &[("/", r#""1970-01-01T00:00:01Z""#, r#"{"time":"1970-01-01T00:00:01Z"}"#)]);
    check("A PATCH / *", &[("/", r#"{"book":{"title":"t"}}"#, r#"{"book":{"title":"t"}}"#)]);
    // A mask of another name, if it is the only one.
    check("Replaced PATCH / book", &[("/", r#"{"pages":1}"#, r#"{"book":{"pages":1}}"#)]);
    check("Patched PATCH / book", &[("/", r#"{"pages":1}"#, r#"{"book":{"pages":1},"mask":"pages"}"#)]);
}

#[test]
fn raw_bodies_keep_their_bytes_and_type() {
    check(
        "Raw POST / *",
        &[
            ("/", "not {JSON", r#"{"contentType":"text/plain","data":"bm90IHtKU09O"}"#),
            ("/", "", r#"{"contentType":"text/plain"}"#),
        ],
    );
    check(
        "A POST /{name} file",
        &[
            (
                "/x?parent=y",
                "\u{1}",
                r#"{"name":"x","parent":"y","file":{"contentType":"text/plain","data":"AQ=="}}"#,
            ),
            ("/x?file.content_type=y", "", "`file.contentType`: part of the body, so not of the query"),
        ],
    );
}

#[test]
fn later_messages_of_a_stream_have_no_captures() {
    let (tree, _) = build(usual(), &rules(&["A POST /{name} *"])).expect("valid rule");
    let binding = tree.bindings().next().expect("one");
    let captures = crate::route::Captures::default();
    let request =
        Request { captures: &captures, query: None, body: RequestBody::Json(b"{\"parent\":\"p\"}") };
    let mut out = Vec::new();
    let outcome =
        binding.assemble(usual(), &JsonOptions::default(), &BindingOptions::default(), request, &mut out);
    assert_eq!(outcome, Ok(()));
    assert_eq!(shown(binding, &out), r#"{"parent":"p"}"#);
}

#[test]
fn no_query_panics_and_what_binds_is_a_message() {
    let (tree, _) = build(usual(), &rules(&["A POST /{book.name} deep"])).expect("valid rule");
    let Match::Found { binding, captures } = tree.find("POST", "/x") else { panic!("a route") };
    let pieces = [
        "name", "book", "labels", "deep", "tags", "kinds", "=", "&", ".", "[", "]", "%", "+", "1", "NOVEL",
        "%41", "leaf", "count", "time", "left", "right", "\u{e9}",
    ];
    bolero::check!().with_type::<Vec<u8>>().for_each(|picks| {
        let query: String = picks.iter().map(|pick| pieces[usize::from(*pick) % pieces.len()]).collect();
        let request = Request { captures: &captures, query: Some(&query), body: RequestBody::Json(b"{}") };
        let mut out = Vec::new();
        let outcome =
            binding.assemble(usual(), &JsonOptions::default(), &BindingOptions::default(), request, &mut out);
        match outcome {
            Ok(()) => drop(shown(binding, &out)),
            Err(status) => assert_eq!(status.code, Code::InvalidArgument),
        }
    });
}
