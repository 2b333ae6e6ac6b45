//! Expected texts are those of Go 1.22's `text/template` and sprig 3, by their sources; Promtail's own tests of the
//! `template` stage are among them.

use super::*;
use proptest::prelude::*;

const VALUES: &[(&str, &str)] = &[
    ("Value", "Some Silly Value"),
    ("level", "WARN"),
    ("status", "404"),
    ("empty", ""),
    ("path", "/a/b/c"),
    ("bad", "a\u{1}b"),
    ("a name", "spaced"),
];

fn compiled(text: &str) -> Template {
    let mut diagnostics = Diagnostics::new();
    Template::compile(text, Span::FILE, Missing::Nothing, &mut diagnostics)
        .unwrap_or_else(|| panic!("{text}: {diagnostics:?}"))
}

fn rendered_with(text: &str, values: &[(&str, &[u8])]) -> Result<Vec<u8>, Failed> {
    let template = compiled(text);
    let (mut room, mut out) = (template.room(), Buffer::default());
    let value = |field: usize| {
        let name = &template.fields()[field];
        values.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    };
    template.render(&value, &mut room, &mut out).map(|()| out.bytes().to_vec())
}

/// What becomes of the template, or `failed`.
fn rendered(text: &str) -> String {
    let values: Vec<_> = VALUES.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    rendered_with(text, &values).map_or("failed".into(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn check(cases: &[(&str, &str)]) {
    for (template, expected) in cases {
        assert_eq!(rendered(template), *expected, "{template}");
    }
}

#[test]
fn values_stand_where_they_are_named() {
    check(&[
        ("", ""),
        ("plain", "plain"),
        ("{{ .level }} in {{.path}}", "WARN in /a/b/c"),
        ("{{.Value}} in module {{.module}}", "Some Silly Value in module <no value>"),
        ("{{ $.level }}", "WARN"),
        ("{{ index . \"a name\" }}|{{ index $ `a name` | upper }}", "spaced|SPACED"),
        ("{{ index . \"none\" }}", "<no value>"),
        ("{{ .empty }}", ""),
        ("{{ `a` }}{{ 1 }}{{ 1.5 }}{{ true }}{{ 'a' }}", "a11.5true97"),
        ("{{- .level -}} \n {{/* nothing */}} !", "WARN !"),
        ("{{ .level | ToLower | printf \"%s-%s\" .status }}", "404-warn"),
        ("{{ (.level) }}", "WARN"),
        ("a {{- /* c */ -}} b", "ab"),
    ]);
}

#[test]
fn branches_are_taken_by_what_is_true() {
    check(&[
        ("{{ if eq .level \"WARN\" }}{{ Replace .level \"WARN\" \"OK\" -1 }}{{ else }}{{ .level }}{{ end }}", "OK"),
        ("{{ if .none }}a{{ else if .empty }}b{{ else if .level }}c{{ else }}d{{ end }}", "c"),
        ("{{ if .none }}a{{ end }}", ""),
        ("{{ if and .level .none }}a{{ else }}b{{ end }}", "b"),
        ("{{ with .level }}{{ . | lower }} {{ $.status }}{{ else }}none{{ end }}", "warn 404"),
        ("{{ with .none }}a{{ else with .path }}{{ . }}{{ end }}", "/a/b/c"),
        ("{{ with $x := .level }}{{ $x }}{{ . }}{{ end }}", "WARNWARN"),
        ("{{ $x := 1 }}{{ if .level }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        ("{{ $x := 1 }}{{ if .level }}{{ $x := 2 }}{{ end }}{{ $x }}", "1"),
        ("{{ if $x := .none }}a{{ else }}{{ $x }}{{ end }}", "<no value>"),
        ("{{ if ge (int .status) 500 }}5xx{{ else if ge (int .status) 400 }}4xx{{ end }}", "4xx"),
        ("{{ or .none .empty \"last\" }} {{ and .level 0 1 }}", "last 0"),
        // What stands behind the argument that decides is not looked at.
        ("{{ or .level (div 1 0) }} {{ and .none (div 1 0) }}", "WARN <no value>"),
    ]);
}

#[test]
fn values_of_two_kinds_do_not_compare() {
    check(&[
        ("{{ eq .level \"a\" \"WARN\" }} {{ ne .level \"WARN\" }}", "true false"),
        ("{{ eq .none \"a\" }} {{ ne .none \"a\" }} {{ eq .none nil }}", "false true true"),
        ("{{ lt \"a\" \"b\" }} {{ le 1 1 }} {{ gt 2.5 1.5 }} {{ ge 1 2 }}", "true true true false"),
        ("{{ lt .none \"a\" }}", "failed"),
        ("{{ eq (default .level 5) 5 }}", "true"),
        ("{{ eq (default 5 .level) 5 }}", "failed"),
        ("{{ not .none }} {{ not .level }}", "true false"),
    ]);
}

#[test]
fn functions_over_texts_are_those_of_go_and_sprig() {
    check(&[
        ("{{ .Value | ToLower }}", "some silly value"),
        ("{{ ToUpper \"straße é\" }} {{ lower \"İ\" }}", "STRAßE É i"),
        ("{{ .none | ToLower }}", "failed"),
        ("{{ Replace .Value \" \" \"_\" -1 | ToLower }}", "some_silly_value"),
        ("{{ Replace .Value \" \" \"_\" 1 }} {{ Replace \"é\" \"\" \"-\" -1 }}", "Some_Silly Value -é-"),
        ("{{ replace \" \" \"_\" .Value }}", "Some_Silly_Value"),
        ("{{ Trim \"!!a!\" \"!\" }} {{ TrimLeft \"éa\" \"é\" }} {{ TrimRight \"aé\" \"éx\" }}", "a a a"),
        ("{{ TrimPrefix .path \"/a\" }} {{ TrimSuffix .path \"/c\" }} {{ TrimSpace \" a \" }}.", "/b/c /a/b a."),
        ("{{ trimPrefix \"/a\" .path }} {{ trimSuffix \"/c\" .path }} {{ trimAll \"/\" .path }}", "/b/c /a/b a/b/c"),
        ("{{ trim \"\\u00a0a\\t\" }}.{{ nospace \" a\\tb \" }}", "a.ab"),
        ("{{ title \"a-b c_d é\" }}", "A-B C_d É"),
        (
            "{{ contains \"Silly\" .Value }} {{ hasPrefix \"So\" .Value }} {{ hasSuffix \"x\" .Value }}",
            "true true false",
        ),
        ("{{ substr 0 4 .Value }} {{ substr -1 4 .Value }} {{ substr 5 -1 .Value }}", "Some Some Silly Value"),
        ("{{ substr 5 100 .Value }} {{ substr 5 4 .Value }}", "failed"),
        ("{{ substr 100 -1 .Value }}", "failed"),
        ("{{ trunc 4 .Value }} {{ trunc -5 .Value }} {{ trunc 0 .Value }}.{{ trunc -99 .level }}", "Some Value .WARN"),
        ("{{ repeat 3 \"ab\" }}", "ababab"),
        ("{{ repeat -1 \"ab\" }}", "failed"),
        ("{{ quote .bad 5 nil }} {{ squote .level }}", "\"a\\x01b\" \"5\" 'WARN'"),
        ("{{ quote \"a\\\"\\n\\u00e9\\u200b\\u0301\" }}", "\"a\\\"\\né\\u200b\u{301}\""),
        ("{{ cat \"a\" nil 1 .level }}", "a 1 WARN"),
        ("{{ print 1 2 \"a\" 3 }} {{ print .none }}", "1 2a3 <nil>"),
        ("{{ toString 1.5 }}{{ toString .none }}", "1.5<nil>"),
        ("{{ println \"a\" 1 }}", "a 1\n"),
    ]);
}

#[test]
fn defaults_are_for_what_is_empty() {
    check(&[
        (
            "{{ .none | default \"x\" }} {{ default \"x\" .empty }} {{ default \"x\" .level }} {{ default \"x\" }}",
            "x x WARN x",
        ),
        ("{{ coalesce .none .empty .level }} {{ coalesce .none }}", "WARN <no value>"),
        ("{{ ternary \"a\" \"b\" (eq .level \"WARN\") }} {{ empty .none | ternary \"a\" \"b\" }}", "a a"),
        ("{{ empty .empty }} {{ empty 0 }} {{ empty .level }}", "true true false"),
        ("{{ all .level .none }} {{ any .level .none }}", "false true"),
    ]);
}

#[test]
fn numbers_are_read_as_cast_reads_them() {
    check(&[
        (
            "{{ add 7 3 }} {{ add .status 1 }} {{ sub 1 2 }} {{ mul 2 3 4 }} {{ div 7 2 }} {{ mod -7 2 }}",
            "10 405 -1 24 3 -1",
        ),
        ("{{ div 1 0 }}", "failed"),
        ("{{ max 1 .status 3 }} {{ min 5 \"2\" }} {{ add1 .status }}", "404 2 405"),
        (
            "{{ int \"12.9\" }} {{ int \"-.5\" }} {{ int \"0x1F\" }} {{ int \"010\" }} {{ int \"08\" }} {{ int \"x\" }}",
            "0 0 31 8 0 0",
        ),
        (
            "{{ int \"12.00\" }} {{ int \"12.10\" }} {{ int \"12.\" }} {{ int \".0\" }} {{ int \"-100\" }}",
            "12 0 0 0 -100",
        ),
        ("{{ int .none }} {{ int \"\" }} {{ int true }} {{ int 2.9 }} {{ int \"1e3\" }}", "0 0 1 2 0"),
        ("{{ atoi \"08\" }} {{ atoi \"1.5\" }} {{ atoi \"99999999999999999999\" }}", "8 0 9223372036854775807"),
        (
            "{{ float64 \"1.50\" }} {{ float64 \"1e6\" }} {{ float64 \"123456\" }} {{ float64 \"0.00001\" }}",
            "1.5 1e+06 123456 1e-05",
        ),
        ("{{ floor 1.9 }} {{ ceil 1.1 }} {{ round 123.555555 3 }} {{ round -1.5 0 }}", "1 2 123.556 -2"),
        ("{{ len .level }} {{ len (splitList \"/\" .path) }} {{ index \"abc\" 1 }}", "4 4 98"),
        ("{{ len .none }}", "failed"),
        ("{{ index \"abc\" 3 }}", "failed"),
    ]);
}

#[test]
fn texts_are_split_and_joined() {
    check(&[
        ("{{ (split \"/\" .path)._1 }}{{ (split \"/\" .path)._9 }}", "a<no value>"),
        ("{{ $p := split \"/\" .path }}{{ $p._2 }}{{ index $p \"_3\" }}{{ index $p \"_9\" }}.", "bc."),
        ("{{ with splitn \"/\" 3 .path }}{{ ._2 }}{{ end }}", "b/c"),
        ("{{ splitList \"/\" .path }} {{ splitList \"\" \"aé\" | join \"-\" }}", "[ a b c] a-é"),
        ("{{ splitList \"/\" .path | last }} {{ first (splitList \",\" .level) }}", "c WARN"),
        ("{{ index (splitList \"/\" .path) 1 }}", "a"),
        ("{{ index (splitList \"/\" .path) 4 }}", "failed"),
        ("{{ join \",\" .level }} {{ join \",\" .none }}.", "WARN ."),
        ("{{ split \"-\" \"a-b\" }}", "map[_0:a _1:b]"),
    ]);
}

#[test]
fn hashes_and_encodings_have_their_published_values() {
    check(&[
        // Promtail's own tests.
        (
            "{{ Sha2Hash \"this is PII data\" \"salt\" }}",
            "5526fd6f8ad457279cf8ff06453c6cb61bf479fa826e3b099caa6c846f9376f2",
        ),
        (
            "{{ Hash \"this is PII data\" \"salt\" }}",
            "0807ea24e992127128b38e4930f7155013786a4999c73a25910318a793847658",
        ),
        ("{{ sha256sum \"\" }}", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("{{ b64enc \"f\" }} {{ b64enc \"fo\" }} {{ b64enc \"foobar\" }} {{ b64enc \"\" }}.", "Zg== Zm8= Zm9vYmFy ."),
        (
            "{{ b64dec \"Zg==\" }} {{ b64dec \"Zm8=\" }} {{ b64dec \"Zm9v\\nYmFy\" }} {{ b64dec \"\" }}.",
            "f fo foobar .",
        ),
        ("{{ b64dec \"Zg\" }}", "illegal base64 data at input byte 0"),
        ("{{ b64dec \"Zm9vY!\" }}", "illegal base64 data at input byte 5"),
        (
            "{{ b64dec \"Zg=\" }}|{{ b64dec \"Zg==x\" }}",
            "illegal base64 data at input byte 3|illegal base64 data at input byte 4",
        ),
    ]);
}

#[test]
fn expressions_find_and_replace() {
    check(&[
        (r#"{{ regexReplaceAll "(Silly)" .Value "${1}foo" }}"#, "Some Sillyfoo Value"),
        (r#"{{ regexReplaceAll "a*" "baac" "x" }} {{ regexReplaceAllLiteral "(a)" "aa" "$1" }}"#, "xbxcx $1$1"),
        (r#"{{ regexReplaceAllLiteral "S" .Value .status }}"#, "404ome 404illy Value"),
        (r#"{{ regexMatch "^[45]" .status }} {{ regexFind "[0-9]+" "a12b3" }} {{ regexFind "x" "a" }}."#, "true 12 ."),
        (r#"{{ .status | regexMatch "^5" }} {{ mustRegexMatch "^4" .status }}"#, "false true"),
        (r#"{{ regexFind "a" .none }}"#, "failed"),
    ]);
}

#[test]
fn printf_is_that_of_go() {
    check(&[
        (r#"{{ printf "%s|%5s|%-5s|%.2s|%q|%x" "é" "é" "é" "aéb" "a\"" "az" }}"#, r#"é|    é|é    |aé|"a\""|617a"#),
        (
            r#"{{ printf "%d|%5d|%-5d|%05d|%+d|% d|%x|%c" 42 42 42 -42 42 42 255 233 }}"#,
            "42|   42|42   |-0042|+42| 42|ff|é",
        ),
        (r#"{{ printf "%f|%.1f|%8.3f|%g|%v" 1.5 1.25 1.5 1e6 0.1 }}"#, "1.500000|1.2|   1.500|1e+06|0.1"),
        (r#"{{ printf "%t %v %v %v%%" true false .none .level }}"#, "true false <nil> WARN%"),
        (r#"{{ printf "%s" .none }} {{ printf "%d" (default 1 .level) }}"#, "%!s(<nil>) %!d(string=WARN)"),
        (r#"{{ .status | int | printf "%03d" }}"#, "404"),
    ]);
}

/// The message and the help of what is wrong with a template that stands in single quotes from column 4 on.
fn mistake(text: &str) -> String {
    let mut diagnostics = Diagnostics::new();
    let span = Span::new(1, 4, text.chars().count() as u32 + 2);
    assert!(Template::compile(text, span, Missing::Nothing, &mut diagnostics).is_none(), "{text} must be refused");
    let found = diagnostics.sorted().remove(0);
    let help = found.help.map(|help| format!(" -- {help}")).unwrap_or_default();
    format!("{}+{}: {}{help}", found.span.column, found.span.width, found.message)
}

#[test]
fn what_cannot_run_is_reported_with_its_place() {
    for (template, expected) in [
        ("a {{ now }}", "10+3: not a template: the function `now` is not supported: it gives something else each time"),
        (
            "{{ .a | ToLoewr }}",
            "13+7: not a template: the function `ToLoewr` is not supported -- did you mean `ToLower`?",
        ),
        (
            "{{ fromJson .a }}",
            "the function `fromJson` is not supported -- known functions: add, add1, all, and, any, atoi",
        ),
        ("{{ range .a }}{{ end }}", "8+5: not a template: the action `range` is not supported"),
        ("{{ if .a }}x", "8+2: not a template: an `end` is missing for this"),
        ("x{{ end }}", "9+3: not a template: `end` without an `if`"),
        ("{{ else }}", "`else` without an `if`"),
        ("{{ if .a }}{{ else }}{{ else }}{{ end }}", "a second `else`"),
        ("{{ .a", "5+2: not a template: an action has no end"),
        ("{{ }}", "an action without a value"),
        ("{{ . }}", "8+1: not a template: this is the map of all values -- name one of them"),
        ("{{ $x }}", "there is no variable `$x`"),
        ("{{ if .a }}{{ $x := 1 }}{{ end }}{{ $x }}", "there is no variable `$x`"),
        ("{{ .a.b }}", "`.b` is a key of a text, which has none of that name"),
        ("{{ with .a }}{{ .b }}{{ end }}", "the value of that name is `$.b` wherever it stands"),
        ("{{ .a \"b\" }}", "only a function takes arguments"),
        ("{{ .a | .b }}", "what stands behind `|` must be a function"),
        ("{{ ToLower }}", "`ToLower` takes 1 arguments, and here it has 0 -- it takes a text"),
        ("{{ Replace .a \"b\" \"c\" }}", "`Replace` takes 4 arguments, and here it has 3"),
        ("{{ trunc .n .a }}", "14+2: not a template: argument 1 of `trunc` is a text, and must be a whole number"),
        ("{{ ToLower 5 }}", "argument 1 of `ToLower` is a whole number, and must be a text"),
        (
            "{{ if ge .status 400 }}{{ end }}",
            "`ge` cannot compare a text with a whole number -- `int` and `float64` make",
        ),
        ("{{ eq 1 1.5 }}", "`eq` cannot compare a whole number with a number with a point"),
        ("{{ lt true false }}", "`lt` does not compare true or false"),
        ("{{ regexMatch \"a[\" .a }}", "19+4: not a template: not a regular expression: "),
        ("{{ regexMatch .a .b }}", "the expression of `regexMatch` must be written out"),
        ("{{ regexReplaceAll \"a\" .a .b }}", "what `regexReplaceAll` puts in must be written out"),
        ("{{ printf .a .b }}", "the format of `printf` must be written out"),
        ("{{ printf \"%d\" .a }}", "`%d` does not write a text"),
        ("{{ printf \"%s %s\" .a }}", "the format of `printf` wants 2 values, and there are 1"),
        ("{{ printf \"%z\" .a }}", "`printf` here knows `%v`"),
        ("{{ printf \"%\" }}", "`printf` here knows `%v`"),
        ("{{ (.a }}", "a parenthesis is not closed"),
        ("{{ .a ) }}", "the action should end here"),
        ("{{ .a, .b }}", "10+1: not a template: `,` has no meaning here"),
        ("{{ \"a }}", "a text in quotes has no end"),
        ("{{ \"\\d\" }}", "an escape that is unknown to Go"),
        ("{{/* a }}", "a comment has no end"),
        ("{{/* a */ .a }}", "a comment must end its action"),
        ("{{ 12x }}", "`12x` is no number"),
        ("{{ ($x := 1) }}", "a variable is not set between parentheses"),
    ] {
        assert!(mistake(template).contains(expected), "{template}: {}", mistake(template));
    }
    assert!(mistake(&format!("{{{{ {}1{} }}}}", "(".repeat(100), ")".repeat(100))).contains("more than 64 levels"));
    assert!(mistake(&"{{ if 1 }}".repeat(100)).contains("more than 64 levels"));
}

#[test]
fn a_mistake_on_a_later_line_names_the_line() {
    let (mut diagnostics, span) = (Diagnostics::new(), Span::new(7, 3, 1));
    Template::compile("a\n {{ now }}", span, Missing::Nothing, &mut diagnostics);
    let found = diagnostics.sorted().remove(0);
    assert_eq!(found.span, span);
    assert!(
        found.message.ends_with("gives something else each time (line 2, column 5 of the template)"),
        "{}",
        found.message
    );
}

#[test]
fn a_missing_key_of_a_map_of_texts_is_empty() {
    let template =
        Template::compile("{{ index . \"x\" }}|{{ .x }}", Span::FILE, Missing::Empty, &mut Diagnostics::new());
    let template = template.expect("a template");
    let mut out = Buffer::default();
    template.render(&|_| None, &mut template.room(), &mut out).expect("rendered");
    assert_eq!(out.bytes(), b"|<no value>");
}

#[test]
fn what_grows_without_end_is_cut() {
    let line = vec![b'a'; 256 << 10];
    for text in [
        "{{ repeat 1000000000 .Value }}",
        "{{ Replace .Value \"a\" \"aaaaaaaaaaaaaaaaaaaaaaa\" -1 }}",
        "{{ .Value }}{{ .Value }}{{ .Value }}{{ .Value }}{{ .Value }}",
        "{{ regexReplaceAll \"a\" .Value \"$0$0$0$0$0\" }}",
        "{{ splitList \"\" .Value | join \"-------\" }}",
        "{{ printf \"%x\" (repeat 3 .Value) }}",
    ] {
        let template = compiled(text);
        let (mut room, mut out) = (template.room(), Buffer::default());
        template.render(&|_| Some(&line), &mut room, &mut out).expect("rendered");
        assert!(out.is_cut() && out.len() <= TEXT_BYTES_MAX, "{text}: {} bytes", out.len());
        out.clear();
        template.render(&|_| Some(b"a"), &mut room, &mut out).expect("rendered");
        assert_eq!(out.is_cut(), text.contains("1000000000"), "{text}: the next line");
    }
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![any::<u8>(), Just(b'/'), Just(b'"'), Just(b' '), Just(b'=')], 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(std::env::var("WEIR_CASES").map_or(64, |n| n.parse().unwrap())))]

    #[test]
    fn any_text_compiles_or_is_refused(
        text in r#"(\{\{|\}\}|-| |if|else|end|with|eq|index|split|\$x|:=|\||\(|\)|\.|\.a|_1|"a%s"|`é`|printf|[0-9]|/\*|\*/|\n){0,24}"#
    ) {
        Template::compile(&text, Span::new(1, 1, text.chars().count() as u32), Missing::Nothing, &mut Diagnostics::new());
    }

    #[test]
    fn any_bytes_are_rendered(value in hostile(), other in hostile()) {
        for function in super::functions::names() {
            for arguments in [
                ".v", ".v .o", ".o .v .v", ".o .v .v 3", "3 .v", "2 7 .v", "(splitList .o .v)", ".o (splitList .o .v)",
                "(split .o .v)", ".o 2 .v", "(float64 .v) 2", "(int .v) (int .o)", ".none .v", ".v .v true",
            ] {
                let text = format!("{{{{ {function} {arguments} | quote }}}}");
                let template = Template::compile(&text, Span::FILE, Missing::Nothing, &mut Diagnostics::new());
                let Some(template) = template else { continue };
                let (mut room, mut out) = (template.room(), Buffer::default());
                let field = |field: usize| match template.fields()[field].as_str() {
                    "v" => Some(&value[..]),
                    "o" => Some(&other[..]),
                    _ => None,
                };
                let _ = template.render(&field, &mut room, &mut out);
            }
        }
    }

    #[test]
    fn base64_comes_back(value in hostile()) {
        prop_assert_eq!(rendered_with("{{ b64enc .v | b64dec }}", &[("v", &value)]).unwrap(), value);
    }

    #[test]
    fn splitting_and_joining_gives_the_text_again(value in hostile()) {
        let both = rendered_with("{{ splitList \"/\" .v | join \"/\" }}{{ splitList \"\" .v | join \"\" }}", &[("v", &value)]);
        prop_assert_eq!(both.unwrap(), value.repeat(2));
    }
}
