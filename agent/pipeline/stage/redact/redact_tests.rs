use super::addresses::{Disguise, KeyedSha256};
use super::*;
use proptest::prelude::*;
use std::net::IpAddr;

fn work(disguise: Option<Disguise>) -> Work {
    let names = |usual: &[&str]| Names::new(&usual.iter().map(|name| name.to_string()).collect::<Vec<_>>());
    Work {
        secrets: Secrets { query: names(QUERY), headers: names(HEADERS) },
        replacement: REPLACEMENT.into(),
        disguise,
        edits: Vec::new(),
        out: Buffer::default(),
    }
}

fn truncating() -> Option<Disguise> {
    Some(Disguise::Truncate { ipv4_bits: 24, ipv6_bits: 48 })
}

fn redacted_by(work: &mut Work, text: &[u8]) -> Vec<u8> {
    if work.redact(text) { work.out.bytes().to_vec() } else { text.to_vec() }
}

/// The text with `#` for what was taken out.
fn redacted(text: &str) -> String {
    let bytes = redacted_by(&mut work(truncating()), text.as_bytes());
    String::from_utf8_lossy(&bytes).replace(REPLACEMENT, "#")
}

fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(redacted(text), *expected, "{text}");
    }
}

#[test]
fn secrets_of_queries_are_taken_out_however_they_are_written() {
    check(&[
        ("GET /a?token=abc&x=1 HTTP/1.1", "GET /a?token=#&x=1 HTTP/1.1"),
        ("/a?x=1&PassWord=a%26b+c;d%20e#f", "/a?x=1&PassWord=##f"),
        ("https://h/cb#access_token=a.b-c&state=x", "https://h/cb#access_token=#&state=x"),
        ("/a?x=1&amp;sig=abc&amp;y=2", "/a?x=1&amp;sig=#&amp;y=2"),
        ("/a;jsessionid=ABC?x=1", "/a;jsessionid=#"),
        // The names are compared as they are meant.
        ("/a?t%6Fken=abc&API-Key=x&user[password]=y&token[]=z", "/a?t%6Fken=#&API-Key=#&user[password]=#&token[]=#"),
        ("/a?user%5Bpassword%5D=abc", "/a?user%5Bpassword%5D=#"),
        ("/a?mytoken=abc&tokens=b&x.key=c&monkey=d", "/a?mytoken=abc&tokens=b&x.key=#&monkey=d"),
        // A URL in a parameter, once and twice encoded.
        ("/login?next=%2Fa%3Ftoken%3Dab%2Bc%26x%3D1&y=2", "/login?next=%2Fa%3Ftoken%3D#%26x%3D1&y=2"),
        ("/l?n=%252Fa%253Fcode%253Dab%252526c%2526x%253D1", "/l?n=%252Fa%253Fcode%253D#%2526x%253D1"),
        ("/l?n=%2Fa%3Ftoken%3Dabc&y=2", "/l?n=%2Fa%3Ftoken%3D#&y=2"),
        // In JSON, and in JSON within JSON.
        (r#"{"request_query":"token=abc&x=1","b":"?key=\u00e9\\x"}"#, r##"{"request_query":"token=#&x=1","b":"?key=#"}"##),
        (r#"{"u":"\/a?x=1\u0026token=abc\u0026y=2"}"#, r##"{"u":"\/a?x=1\u0026token=#\u0026y=2"}"##),
        (r#"{"u":"\/a?x\u003d1\u0026token\u003dabc"}"#, r##"{"u":"\/a?x\u003d1\u0026token\u003d#"}"##),
        (r#"{"m":"{\"u\":\"/a?token=abc\",\"b\":1}"}"#, r##"{"m":"{\"u\":\"/a?token=#\",\"b\":1}"}"##),
        (r#"{"m":"/a?token=abc\\","b":1}"#, r##"{"m":"/a?token=#\\","b":1}"##),
        // As nginx writes a quote, and where it ends its own.
        (r#""GET /a?token=a\x22b HTTP/1.1" 200"#, r##""GET /a?token=# HTTP/1.1" 200"##),
        (r#"request: "GET /a?token=a'b", host: "h""#, r##"request: "GET /a?token=#", host: "h""##),
        ("see '/a?token=abc', and (`/b?key=x`)", "see '/a?token=#', and (`/b?key=#`)"),
        // What is no query.
        ("level=info code=200 key=abc", "level=info code=200 key=abc"),
        ("code == 5, a.key = b", "code == 5, a.key = b"),
        ("/a?token=&x=1 /b?token", "/a?token=&x=1 /b?token"),
        ("token=abc", "token=#"),
    ]);
}

#[test]
fn headers_are_taken_out_of_json_and_of_text() {
    check(&[
        (r#"{"http_authorization":"Bearer abc","b":1}"#, r##"{"http_authorization":"#","b":1}"##),
        (r#"{"Authorization" : "Digest username=\"a\", realm=\"b\"", "c": 2}"#, r##"{"Authorization" : "#", "c": 2}"##),
        (r#"{"headers":{"Cookie":["a=b","c"],"x":["d"]}}"#, r##"{"headers":{"Cookie":["#","#"],"x":["d"]}}"##),
        (r#"{"authorization":null,"cookie":["", 5],"b":"c"}"#, r#"{"authorization":null,"cookie":["", 5],"b":"c"}"#),
        (r#"{"m":"{\"Set-Cookie\": \"a\\\"b\", \"c\": 1}"}"#, r##"{"m":"{\"Set-Cookie\": \"#\", \"c\": 1}"}"##),
        (r#"{"m":"{\"cookie\": \"a\\\\\", \"c\": 1}"}"#, r##"{"m":"{\"cookie\": \"#\", \"c\": 1}"}"##),
        (r#"{"m":"{\"cookie\": \"cut off","b":1}"#, r##"{"m":"{\"cookie\": \"#","b":1}"##),
        ("{'Authorization': 'Bearer abc', 'b': 1}", "{'Authorization': '#', 'b': 1}"),
        // Text: to the end of the line or of the quotes.
        ("Authorization: Basic abc\nHost: h", "Authorization: #\nHost: h"),
        (r#"{"raw":"GET / HTTP/1.1\r\nCookie: a=b; c=d\r\nHost: h"}"#, r##"{"raw":"GET / HTTP/1.1\r\nCookie: #\r\nHost: h"}"##),
        (r#"curl -H "Authorization: Bearer abc" -H 'X-API-Key: k' h"#, r##"curl -H "Authorization: #" -H 'X-API-Key: #' h"##),
        (r#"{"h":["Authorization: Digest a=\"b\", c","x"]}"#, r##"{"h":["Authorization: #","x"]}"##),
        (r#"{"a":"no cookie:","b":"c d","cookie:":1,"Cookie: ":"e"}"#, r#"{"a":"no cookie:","b":"c d","cookie:":1,"Cookie: ":"e"}"#),
        (r#"cookie="a b" authorization=abc c=d"#, r##"cookie="#" authorization=# c=d"##),
        (r#"{"a":"cookie=","b":"c","d":"cookie=\"e f\" g"}"#, r##"{"a":"cookie=","b":"c","d":"cookie=\"#\" g"}"##),
        (r#"{"m":"{\"a\":\"no cookie:\",\"b\":\"c\"}"}"#, r#"{"m":"{\"a\":\"no cookie:\",\"b\":\"c\"}"}"#),
        // A text within a text ends where that ends, if not before.
        (r#"[{"":"{Authorization: \"a\\"}]"#, r##"[{"":"{Authorization: \"#"}]"##),
        (r#"{"a":"{Authorization: \"x\\\\"}"#, r##"{"a":"{Authorization: \"#"}"##),
        (r#"{"a":"{Authorization: \"x\\\"y\"}"}"#, r##"{"a":"{Authorization: \"#\"}"}"##),
        ("cookies: yes, cookiecutter: x", "cookies: yes, cookiecutter: x"),
        ("a=1; session=abc; theme=dark", "a=1; session=# theme=dark"),
    ]);
}

#[test]
fn what_modsecurity_quotes_is_taken_out() {
    check(&[
        (
            "Matched \"Operator `Rx' with parameter `x' against variable `ARGS:token' (Value: `a\"b c' ) [file \"/f\"]",
            "Matched \"Operator `Rx' with parameter `x' against variable `ARGS:token' (Value: `#' ) [file \"/f\"]",
        ),
        ("against variable `REQUEST_HEADERS:Authorization' (Value: `Basic a' )", "against variable `REQUEST_HEADERS:Authorization' (Value: `#' )"),
        ("against variable `REQUEST_COOKIES:theme' (Value: `cut", "against variable `REQUEST_COOKIES:theme' (Value: `#"),
        ("against variable `ARGS:q' (Value: `a' )", "against variable `ARGS:q' (Value: `a' )"),
        (
            r#"[data "Matched Data: se found within ARGS_POST:user[password]: my secret"] [severity "2"]"#,
            r##"[data "Matched Data: # found within ARGS_POST:user[password]: #"] [severity "2"]"##,
        ),
        (r#"[data "Matched Data: a found within ARGS:q: my a"]"#, r#"[data "Matched Data: a found within ARGS:q: my a"]"#),
        (r#"{"a":"Matched Data: x","b":" found within ARGS:token: y"}"#, r##"{"a":"Matched Data: x","b":" found within ARGS:token: #"}"##),
        (
            r#"{"request":{"method":"GET","uri":"/a?key=abc","headers":{"Host":"h","Authorization":"Basic abc"}}}"#,
            r##"{"request":{"method":"GET","uri":"/a?key=#","headers":{"Host":"h","Authorization":"#"}}}"##,
        ),
        (
            r#"{"message":"variable `ARGS:token' (Value: `a","b":"c' )"}"#,
            r##"{"message":"variable `ARGS:token' (Value: `#","b":"c' )"}"##,
        ),
    ]);
}

#[test]
fn addresses_become_their_networks() {
    check(&[
        ("203.0.113.77 - - [x]", "203.0.113.0 - - [x]"),
        (r#"{"ip":"203.0.113.77","xff":"198.51.100.9, 10.1.2.3"}"#, r#"{"ip":"203.0.113.0","xff":"198.51.100.0, 10.1.2.0"}"#),
        ("2001:db8:1:2::9 [2001:db8:1:2::9]:443 ::1", "2001:db8:1:: [2001:db8:1::]:443 ::"),
        ("::ffff:203.0.113.77 203.0.113.77:8080", "203.0.113.0 203.0.113.0:8080"),
        ("client: 203.0.113.77, server:203.0.113.77: ok. 203.0.113.77.", "client: 203.0.113.0, server:203.0.113.0: ok. 203.0.113.0."),
        ("client:2001:db8:1:2::9: x", "client:2001:db8:1::: x"),
        (r"a%20203.0.113.77\n203.0.113.77\u0020203.0.113.77", r"a%20203.0.113.0\n203.0.113.0\u0020203.0.113.0"),
        ("http://203.0.113.77/x /203.0.113.77:80 x_203.0.113.77_y", "http://203.0.113.0/x /203.0.113.0:80 x_203.0.113.0_y"),
        // What is none.
        ("Chrome/125.0.6422.113 Chrome/125.0.0.0 v1.2.3.4 1.2.3.4.5 256.1.1.1", "Chrome/125.0.6422.113 Chrome/125.0.0.0 v1.2.3.4 1.2.3.4.5 256.1.1.1"),
        ("02:25:48 dead::beef std::add aa:bb:cc:dd:ee:ff 1.2.3.4x", "02:25:48 dead::beef std::add aa:bb:cc:dd:ee:ff 1.2.3.4x"),
        ("fe80::1%eth0 :::: 1:2:3 ...", "fe80::%eth0 :::: 1:2:3 ..."),
        // Not within what is taken out anyway.
        ("/a?token=203.0.113.77&ip=203.0.113.77", "/a?token=#&ip=203.0.113.0"),
    ]);
}

#[test]
fn hashes_depend_on_the_key_and_the_address_alone() {
    let hashed = |key: &[u8], text: &str| {
        let mut work = work(Some(Disguise::Hash(Box::new(KeyedSha256::new(key)))));
        String::from_utf8(redacted_by(&mut work, text.as_bytes())).unwrap()
    };
    let one = hashed(b"0123456789abcdef", "203.0.113.77");
    assert_eq!(one.len(), 16);
    assert_eq!(hashed(b"0123456789abcdef", "::ffff:203.0.113.77,203.0.113.77:80"), format!("{one},{one}:80"));
    assert_ne!(hashed(b"0123456789abcdef", "203.0.113.78"), one);
    assert_ne!(hashed(b"1123456789abcdef", "203.0.113.77"), one);
    assert_eq!(hashed(b"k", "1.2.3.4"), hashed(b"k\0", "1.2.3.4"), "HMAC fills a key up with zeros");
}

#[test]
fn the_keyed_hash_is_hmac_sha_256() {
    // RFC 4231, case 2 ("Jefe"), and case 6 with a key of 131 bytes.
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let of = |key: &[u8], message: &[u8]| hex(&KeyedSha256::new(key).of(message)[..8]);
    assert_eq!(of(b"Jefe", b"what do ya want for nothing?"), "5bdcc146bf60754e");
    let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
    assert_eq!(of(&[0xaa; 131], long), "60e431591ee0b67f");
}

#[test]
fn other_bits_and_all_bits_may_be_kept() {
    let address: IpAddr = "203.0.113.77".parse().unwrap();
    for (ipv4_bits, expected) in [(0, "0.0.0.0"), (8, "203.0.0.0"), (16, "203.0.0.0"), (31, "203.0.113.76"), (32, "203.0.113.77")] {
        let mut out = Buffer::default();
        Disguise::Truncate { ipv4_bits, ipv6_bits: 0 }.write(address, &mut out);
        assert_eq!(out.bytes(), expected.as_bytes());
    }
}

#[test]
fn a_line_of_secrets_only_does_not_grow_without_end() {
    let mut work = work(truncating());
    work.replacement = vec![b'x'; REPLACEMENT_BYTES_MAX];
    assert!(work.redact(&b"&key=a".repeat(50_000)) && work.out.is_cut());
    assert!(!work.out.bytes().windows(5).any(|part| part == b"key=a"));
    assert!(work.redact(b"?key=a") && !work.out.is_cut());
}

/// How secrets are written: the text around them, `{}` being the secret.
const FORMS: &[&str] = &[
    "GET /a?b=1&token={} HTTP/1.1",
    "/a?next=%2Fb%3Ftoken%3D{}%26c%3D1",
    "{\"q\":\"access_token={}&a=b\",\"c\":\"d\"}",
    "{\"q\":\"?a=1\\u0026sig={}\\u0026b=1\"}",
    "{\"http_cookie\":\"{}\",\"b\":1}",
    "{\"a\":\"{\\\"Authorization\\\":\\\"Bearer {}\\\"}\"}",
    "{\"raw\":\"GET /\\r\\nCookie: {}\\r\\nHost: a\"}",
    "variable `ARGS:password' (Value: `{}' ) [file \"/f\"]",
    "[data \"Matched Data: {} found within ARGS:token: {}\"] [x \"y\"]",
    "Authorization: Basic {}\n",
    "h=\"x\" cookie=\"{}\" i=1",
];

/// Any mix of what the scanner looks at.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..4),
        prop::sample::select(vec![
            "\"", "\\\"", "\\\\\\\"", "\\", "'", "`", "=", ":", ": ", "?", "&", ";", " ", "%3D", "%26", "%253D", "\\u003d", "\\u0026",
            "\\n", "\\x22", "token", "key=", "cookie", "\"cookie\":", "\\\"cookie\\\":", "Authorization: ", "ARGS:token", "' (Value: `",
            "' )", "Matched Data: ", " found within ", "[", "]", ",", "{", "}", "1.2.3.4", "::1", "a", "REQUEST_COOKIES:a: ", "5",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let text = hostile().prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).boxed();
    let name = prop_oneof![text.clone(), Just("cookie".to_string()), Just("http_authorization".to_string())].boxed();
    // Texts may be JSON themselves.
    let leaf = prop_oneof![
        text.clone().prop_map(serde_json::Value::from),
        any::<i32>().prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
        (name.clone(), text).prop_map(|(name, text)| serde_json::json!({ name: text }).to_string().into()),
    ];
    leaf.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::vec((name.clone(), inner), 0..4)
                .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(std::env::var("WEIR_CASES").map_or(256, |n| n.parse().unwrap())))]

    #[test]
    fn no_secret_stays(form in prop::sample::select(FORMS), secret in "[A-Za-z0-9._~+/-]{6,40}", front in "[a-z ]{0,8}") {
        let line = front + " " + &form.replace("{}", &secret);
        let out = redacted_by(&mut work(truncating()), line.as_bytes());
        prop_assert!(!String::from_utf8(out).unwrap().contains(&secret), "{line}");
    }

    #[test]
    fn json_stays_json(value in json(), pretty in any::<bool>()) {
        let line = if pretty { format!("{value:#}") } else { value.to_string() };
        let out = redacted_by(&mut work(truncating()), line.as_bytes());
        let read: Result<serde_json::Value, _> = serde_json::from_slice(&out);
        prop_assert!(read.is_ok(), "{line}\n{}", String::from_utf8_lossy(&out));
    }

    #[test]
    fn what_was_taken_out_stays_out(line in hostile()) {
        let mut work = work(truncating());
        let once = redacted_by(&mut work, &line);
        prop_assert_eq!(redacted_by(&mut work, &once), once);
    }

    #[test]
    fn no_address_stays(address in any::<IpAddr>(), around in prop::sample::select(vec![("", ""), ("\"", "\""), ("[", "]:80"), (": ", ","), ("=", "&"), ("%20", "%2C"), ("\\n", "\\r")])) {
        let text = format!("{}{address}{}", around.0, around.1);
        let mut work = work(Some(Disguise::Hash(Box::new(KeyedSha256::new(b"0123456789abcdef")))));
        prop_assume!(address.to_string().contains(|c: char| c.is_ascii_digit()));
        let out = redacted_by(&mut work, text.as_bytes());
        prop_assert_eq!(out.len(), around.0.len() + 16 + around.1.len(), "{}", text);
    }
}
