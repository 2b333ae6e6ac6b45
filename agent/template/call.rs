//! Calls of functions: which one is meant, and whether its arguments fit.

use super::Mistake;
use super::format::Format;
use super::functions::{self, Function, Kind};
use super::parse::{Operand, Parsed, Parser};
use super::tree::{Expression, Search};
use crate::diagnostic::did_you_mean;
use crate::pattern::{Anchoring, Expansion, Pattern};
use std::ops::Range;

/// Functions that are no rows of the table: their arguments are looked at one by one, or before there is a line.
const SPECIAL: &[&str] =
    &["and", "or", "printf", "regexFind", "regexMatch", "regexReplaceAll", "regexReplaceAllLiteral"];

/// sprig's functions that give something else each time, or on each machine.
const UNSTEADY: &[&str] = &[
    "ago",
    "bcrypt",
    "buildCustomCert",
    "date",
    "dateInZone",
    "dateModify",
    "date_in_zone",
    "date_modify",
    "encryptAES",
    "env",
    "expandenv",
    "genCA",
    "genCAWithKey",
    "genPrivateKey",
    "genSelfSignedCert",
    "genSelfSignedCertWithKey",
    "genSignedCert",
    "genSignedCertWithKey",
    "getHostByName",
    "hello",
    "htmlDate",
    "htmlDateInZone",
    "htpasswd",
    "mustDateModify",
    "must_date_modify",
    "now",
    "randAlpha",
    "randAlphaNum",
    "randAscii",
    "randBytes",
    "randInt",
    "randNumeric",
    "shuffle",
    "uuidv4",
];

/// A call of the function `name`, which stands at `at`.
pub(super) fn call(parser: &mut Parser, name: &str, at: Range<usize>, arguments: Vec<Operand>) -> Parsed<Operand> {
    // sprig's functions that begin with `must` end the template where the others give nothing for a bad expression; here
    // there are no bad expressions.
    let name = match name {
        "mustRegexFind" => "regexFind",
        "mustRegexMatch" => "regexMatch",
        "mustRegexReplaceAll" => "regexReplaceAll",
        "mustRegexReplaceAllLiteral" => "regexReplaceAllLiteral",
        other => other,
    };
    match name {
        "and" | "or" => decide(name == "or", at, arguments),
        "printf" => printf(at, arguments),
        "regexFind" | "regexMatch" | "regexReplaceAll" | "regexReplaceAllLiteral" => {
            search(parser, name, at, arguments)
        }
        _ => match functions::find(name) {
            Some(function) => checked(function, at, arguments),
            None => Err(unknown(name, at)),
        },
    }
}

fn unknown(name: &str, at: Range<usize>) -> Mistake {
    if UNSTEADY.contains(&name) {
        return Mistake::new(at, format!("the function `{name}` is not supported: it gives something else each time"))
            .help("a line that is read or sent again must stay the same");
    }
    let known = || functions::names().chain(SPECIAL.iter().copied());
    let mistake = Mistake::new(at, format!("the function `{name}` is not supported"));
    match did_you_mean(name, known()) {
        Some(near) => mistake.help(format!("did you mean `{near}`?")),
        None => {
            let mut names: Vec<_> = known().collect();
            names.sort_unstable_by_key(|name| name.to_lowercase());
            mistake.help(format!("known functions: {}", names.join(", ")))
        }
    }
}

/// From the first to the last byte of a call.
fn whole(at: &Range<usize>, arguments: &[Operand]) -> Range<usize> {
    let starts = arguments.iter().map(|argument| argument.at.start);
    let ends = arguments.iter().map(|argument| argument.at.end);
    starts.fold(at.start, usize::min)..ends.fold(at.end, usize::max)
}

fn expressions(arguments: Vec<Operand>) -> Vec<Expression> {
    arguments.into_iter().map(|argument| argument.expression).collect()
}

/// Checks number and kinds of the arguments of a function of the table.
fn checked(function: &'static Function, at: Range<usize>, arguments: Vec<Operand>) -> Parsed<Operand> {
    count(function.name, function.takes, function.more, &at, arguments.len())?;
    let wanted = function.takes.iter().copied().chain(std::iter::repeat(function.more.unwrap_or(Kind::Any)));
    for (number, (argument, wanted)) in arguments.iter().zip(wanted).enumerate() {
        fits(function.name, number, argument, wanted)?;
    }
    if matches!(function.name, "eq" | "ne" | "lt" | "le" | "gt" | "ge") {
        comparable(function.name, &arguments)?;
    }
    let at = whole(&at, &arguments);
    Ok(Operand {
        expression: Expression::Call { function, arguments: expressions(arguments) },
        kind: function.gives,
        at,
    })
}

fn count(name: &str, takes: &[Kind], more: Option<Kind>, at: &Range<usize>, given: usize) -> Parsed<()> {
    let least = takes.len();
    if given == least || (given > least && more.is_some()) {
        return Ok(());
    }
    let kinds: Vec<_> = takes.iter().chain(&more).map(|kind| kind.name()).collect();
    let or_more = if more.is_some() { " or more" } else { "" };
    let message = format!("`{name}` takes {least}{or_more} arguments, and here it has {given}");
    let mistake = Mistake::new(at.clone(), message);
    Err(if kinds.is_empty() { mistake } else { mistake.help(format!("it takes {}", kinds.join(", then "))) })
}

fn fits(name: &str, number: usize, argument: &Operand, wanted: Kind) -> Parsed<()> {
    if argument.kind.may_be(wanted) {
        return Ok(());
    }
    let (number, found) = (number + 1, argument.kind.name());
    let message = format!("argument {number} of `{name}` is {found}, and must be {}", wanted.name());
    let mistake = Mistake::new(argument.at.clone(), message);
    Err(match wanted {
        Kind::Int => mistake.help("`int` makes a whole number of a text: `(int .name)`"),
        Kind::Text => mistake.help("`toString` makes a text of anything: `(toString …)`"),
        _ => mistake,
    })
}

/// Go compares only what is of one kind; a value of a line is a text.
fn comparable(name: &str, arguments: &[Operand]) -> Parsed<()> {
    let basic = |kind| matches!(kind, Kind::Text | Kind::Int | Kind::Float | Kind::Bool);
    let first = arguments[0].kind;
    for argument in arguments {
        let ordered = argument.kind != Kind::Bool || matches!(name, "eq" | "ne");
        let many = matches!(argument.kind, Kind::List | Kind::Parts | Kind::Many);
        if many || !ordered {
            return Err(Mistake::new(
                argument.at.clone(),
                format!("`{name}` does not compare {}", argument.kind.name()),
            ));
        }
        if basic(first) && basic(argument.kind) && first != argument.kind {
            let (one, other) = (first.name(), argument.kind.name());
            return Err(Mistake::new(argument.at.clone(), format!("`{name}` cannot compare {one} with {other}"))
                .help("`int` and `float64` make numbers of texts: `(int .status)`; a text stands in quotes"));
        }
    }
    Ok(())
}

fn decide(by: bool, at: Range<usize>, arguments: Vec<Operand>) -> Parsed<Operand> {
    count(if by { "or" } else { "and" }, &[Kind::Any], Some(Kind::Any), &at, arguments.len())?;
    let first = arguments[0].kind;
    let kind = if arguments.iter().all(|argument| argument.kind == first) { first } else { Kind::Any };
    let at = whole(&at, &arguments);
    Ok(Operand { expression: Expression::Decide { by, arguments: expressions(arguments) }, kind, at })
}

fn printf(at: Range<usize>, mut arguments: Vec<Operand>) -> Parsed<Operand> {
    count("printf", &[Kind::Text], Some(Kind::Any), &at, arguments.len())?;
    let whole = whole(&at, &arguments);
    let format = arguments.remove(0);
    let Some(text) = literal(&format) else {
        return Err(Mistake::new(format.at, "the format of `printf` must be written out")
            .help("as in `printf \"%s-%s\" .a .b`"));
    };
    let kinds: Vec<_> = arguments.iter().map(|argument| argument.kind).collect();
    let format = Format::parse(&text, &kinds, &format.at)?;
    Ok(Operand {
        expression: Expression::Printf { format, arguments: expressions(arguments) },
        kind: Kind::Text,
        at: whole,
    })
}

fn search(parser: &mut Parser, name: &str, at: Range<usize>, mut arguments: Vec<Operand>) -> Parsed<Operand> {
    let takes = match name {
        "regexFind" | "regexMatch" => &[Kind::Text, Kind::Text][..],
        _ => &[Kind::Text, Kind::Text, Kind::Text],
    };
    count(name, takes, None, &at, arguments.len())?;
    for (number, argument) in arguments.iter().enumerate() {
        fits(name, number, argument, Kind::Text)?;
    }
    let whole = whole(&at, &arguments);
    let expression = arguments.remove(0);
    let Some(text) = literal(&expression) else {
        return Err(Mistake::new(expression.at, format!("the expression of `{name}` must be written out"))
            .help("as in `regexReplaceAll \"[0-9]+\" .Value \"#\"`"));
    };
    let pattern = Pattern::compile(&text, Anchoring::Anywhere)
        .map_err(|why| Mistake::new(expression.at.clone(), format!("not a regular expression: {why}")))?;
    let (search, kind) = match name {
        "regexMatch" => (Search::Match, Kind::Bool),
        "regexFind" => (Search::Find, Kind::Text),
        "regexReplaceAllLiteral" => (Search::ReplaceLiteral, Kind::Text),
        _ => match arguments.pop() {
            Some(new) => match literal(&new) {
                Some(text) => (Search::Replace(Expansion::compile(&text, &pattern)), Kind::Text),
                None => {
                    let message = "what `regexReplaceAll` puts in must be written out";
                    return Err(
                        Mistake::new(new.at, message).help("`regexReplaceAllLiteral` puts in any text as it is")
                    );
                }
            },
            None => return Err(Mistake::new(at, "a text to put in is missing")),
        },
    };
    parser.patterns.push(pattern);
    let pattern = parser.patterns.len() - 1;
    let arguments = expressions(arguments);
    Ok(Operand { expression: Expression::Search { search, pattern, arguments }, kind, at: whole })
}

fn literal(operand: &Operand) -> Option<String> {
    match &operand.expression {
        Expression::Text(text) => String::from_utf8(text.to_vec()).ok(),
        _ => None,
    }
}
