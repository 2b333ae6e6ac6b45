use super::super::known::LINGER;
use super::super::object::Pod;
use super::*;
use crate::labels::Labels;
use proptest::prelude::*;
use serde_json::json;
use std::sync::Arc;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn pod(name: &str, label: &str) -> serde_json::Value {
    json!({"metadata": {"name": name, "namespace": "n", "uid": format!("uid-{name}"), "resourceVersion": "9", "labels": {"l": label}},
           "spec": {"containers": [{"name": "c"}]}})
}

fn page(version: &str, token: &str, pods: &[serde_json::Value]) -> Vec<u8> {
    json!({"kind": "PodList", "metadata": {"resourceVersion": version, "continue": token}, "items": pods})
        .to_string()
        .into()
}

fn event(kind: &str, object: &serde_json::Value) -> Vec<u8> {
    json!({"type": kind, "object": object}).to_string().into()
}

fn gone_error() -> Vec<u8> {
    event("ERROR", &json!({"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "old"}))
}

fn watcher() -> Watcher<Pod> {
    Watcher::new("/api/v1/pods", "", "spec.nodeName=node-a", 7)
}

/// One that knows these pods and is about to watch.
fn listed(pods: &[serde_json::Value]) -> Watcher<Pod> {
    let mut watcher = watcher();
    watcher.next(Duration::ZERO);
    watcher.listed(Duration::ZERO, &page("5", "", pods));
    watcher
}

/// Names of pods and their label, of what is known.
fn names(watcher: &mut Watcher<Pod>) -> Vec<String> {
    let label = |labels: &Arc<Labels>| {
        format!("{}={}", labels.get("__meta_kubernetes_pod_name"), labels.get("__meta_kubernetes_pod_label_l"))
    };
    watcher.known().iter().flatten().map(label).collect()
}

#[test]
fn first_any_list_will_do_then_it_is_watched_from_there() {
    let mut watcher = watcher();
    let Step::List(path) = watcher.next(Duration::ZERO) else { panic!("a list first") };
    assert_eq!(path, "/api/v1/pods?limit=250&resourceVersion=0&fieldSelector=spec.nodeName%3Dnode-a");
    watcher.listed(Duration::ZERO, &page("5", "", &[pod("a", "1")]));
    let Step::Watch { path, until } = watcher.next(SECOND) else { panic!("then a watch") };
    assert_eq!(
        path,
        "/api/v1/pods?watch=1&allowWatchBookmarks=true&resourceVersion=5&timeoutSeconds=307&fieldSelector=spec.nodeName%3Dnode-a"
    );
    assert_eq!(until, SECOND + Duration::from_secs(337));
    assert_eq!(names(&mut watcher), ["a=1"]);
}

#[test]
fn pages_make_one_list() {
    let mut watcher = Watcher::<Pod>::new("/p", "app in (a,b)", "", 1);
    watcher.next(Duration::ZERO);
    watcher.listed(Duration::ZERO, &page("5", "t/+1", &[pod("a", "1")]));
    assert!(!watcher.known().take_change(Duration::ZERO), "half a list says nothing");
    let path = "/p?limit=250&continue=t%2F%2B1&labelSelector=app%20in%20%28a%2Cb%29";
    assert_eq!(watcher.next(Duration::ZERO), Step::List(path.into()));
    watcher.listed(Duration::ZERO, &page("5", "", &[pod("b", "1")]));
    assert!(watcher.known().take_change(Duration::ZERO));
    assert_eq!(names(&mut watcher), ["a=1", "b=1"]);
}

#[test]
fn a_list_whose_pages_took_too_long_is_asked_for_whole() {
    let mut watcher = watcher();
    watcher.next(Duration::ZERO);
    watcher.listed(Duration::ZERO, &page("5", "t", &[pod("a", "1")]));
    watcher.next(Duration::ZERO);
    watcher.refused(Duration::ZERO, 410, b"{}", None);
    let Step::Wait(until) = watcher.next(Duration::ZERO) else { panic!("a pause") };
    assert_eq!(watcher.next(until), Step::List("/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-a".into()));
}

#[test]
fn events_change_what_is_known_and_bookmarks_where_it_goes_on() {
    let mut watcher = listed(&[pod("a", "1"), pod("b", "1")]);
    assert!(watcher.known().take_change(Duration::ZERO));
    watcher.next(SECOND);
    watcher.opened(SECOND);
    assert!(watcher.line(SECOND, &event("MODIFIED", &pod("a", "1"))));
    assert!(!watcher.known().take_change(SECOND), "nothing of it becomes a label");
    assert!(watcher.line(SECOND, &event("MODIFIED", &pod("a", "2"))));
    assert!(watcher.line(SECOND, &event("ADDED", &pod("c", "1"))));
    assert!(watcher.line(SECOND, &event("SOMETHING", &json!({}))));
    assert!(watcher.line(SECOND, b""));
    assert!(watcher.known().take_change(SECOND));
    assert_eq!(names(&mut watcher), ["a=2", "b=1", "c=1"]);
    assert!(watcher.line(SECOND, &event("BOOKMARK", &json!({"kind": "Pod", "metadata": {"resourceVersion": "77"}}))));
    watcher.ended(HOUR);
    let Step::Watch { path, .. } = watcher.next(HOUR) else { panic!("again at once") };
    assert!(path.contains("resourceVersion=77&"), "{path}");
    assert_eq!(watcher.take_restarts(), [(Reason::Ended, 1)].into());
    assert!(watcher.take_notices().is_empty());
}

#[test]
fn changes_in_a_row_are_handed_on_together() {
    let mut watcher = listed(&[]);
    assert!(watcher.known().take_change(Duration::ZERO), "that there are none is news");
    watcher.next(SECOND / 10);
    watcher.line(SECOND / 10, &event("ADDED", &pod("a", "1")));
    assert!(!watcher.known().take_change(SECOND / 10));
    assert_eq!(watcher.known().change_due(), Some(SECOND));
    assert!(watcher.known().take_change(SECOND));
    assert_eq!(watcher.known().change_due(), None);
}

#[test]
fn a_pod_that_is_gone_is_known_until_its_files_must_be_read() {
    let mut watcher = listed(&[pod("a", "1"), pod("b", "1")]);
    watcher.known().take_change(Duration::ZERO);
    watcher.next(Duration::ZERO);
    watcher.line(10 * SECOND, &event("DELETED", &pod("a", "2")));
    assert_eq!((names(&mut watcher).len(), watcher.known().living()), (2, 1));
    assert_eq!(watcher.known().change_due(), Some(10 * SECOND + LINGER));
    assert!(!watcher.known().take_change(9 * SECOND + LINGER));
    assert!(watcher.known().take_change(10 * SECOND + LINGER));
    assert_eq!(names(&mut watcher), ["b=1"]);
    // It was gone in a list.
    watcher.refused(HOUR, 410, b"", None);
    watcher.next(HOUR + 60 * SECOND);
    watcher.listed(HOUR + 60 * SECOND, &page("9", "", &[pod("c", "1")]));
    assert_eq!(names(&mut watcher), ["b=1", "c=1"]);
    assert!(watcher.known().take_change(HOUR + 60 * SECOND + LINGER));
    assert_eq!(names(&mut watcher), ["c=1"]);
}

#[test]
fn both_forms_of_410_lead_to_a_new_list_of_the_newest_version() {
    for in_line in [true, false] {
        let mut watcher = listed(&[pod("a", "1")]);
        watcher.next(Duration::ZERO);
        match in_line {
            true => assert!(!watcher.line(HOUR, &gone_error())),
            false => watcher.refused(HOUR, 410, b"not even JSON", None),
        }
        assert_eq!(names(&mut watcher), ["a=1"], "what is known stays");
        let Step::Wait(until) = watcher.next(HOUR) else { panic!("a pause") };
        assert!(until <= HOUR + 2 * SECOND, "{until:?}");
        let path = "/api/v1/pods?limit=250&fieldSelector=spec.nodeName%3Dnode-a";
        assert_eq!(watcher.next(until), Step::List(path.into()));
        assert_eq!(watcher.take_restarts(), [(Reason::Expired, 1)].into());
        assert!(watcher.take_notices().is_empty(), "that is how it should be");
    }
}

/// The promise: known targets are kept, and there is one warning.
#[test]
fn an_api_that_is_gone_for_an_hour_costs_one_warning_and_nothing_that_is_known() {
    let mut watcher = listed(&[pod("a", "1"), pod("b", "1")]);
    watcher.known().take_change(Duration::ZERO);
    watcher.next(Duration::ZERO);
    watcher.opened(Duration::ZERO);
    let (mut now, mut asked) = (60 * SECOND, 0);
    watcher.lost(now, "the answer broke off".into());
    let mut notices = watcher.take_notices();
    while now < HOUR {
        match watcher.next(now) {
            Step::Wait(until) => now = until,
            Step::Watch { .. } => {
                asked += 1;
                // It takes its time to fail.
                now += 3 * SECOND;
                watcher.lost(now, "connection refused".into());
            }
            Step::List(path) => panic!("{path}: nobody forgot where we were"),
        }
        notices.extend(watcher.take_notices());
        assert!(!watcher.known().take_change(now));
        assert_eq!(names(&mut watcher), ["a=1", "b=1"]);
    }
    assert!((100..400).contains(&asked), "{asked} attempts in an hour");
    let text = "connection refused".to_string();
    assert_eq!(notices, [Notice::Failing { reason: Reason::Unreachable, text }]);
    assert_eq!(watcher.heard(), Some(Duration::ZERO));
    // Then it is back, and has forgotten our version.
    let until = match watcher.next(now) {
        Step::Wait(until) => until,
        _ => now,
    };
    watcher.next(until);
    watcher.refused(until, 410, b"{}", None);
    let Step::Wait(until) = watcher.next(until) else { panic!("a pause") };
    watcher.next(until);
    watcher.listed(until, &page("99", "", &[pod("b", "2")]));
    assert_eq!(watcher.take_notices(), [Notice::Recovered { after: until - 60 * SECOND }]);
    assert_eq!(names(&mut watcher), ["a=1", "b=2"], "a has its files still");
}

#[test]
fn at_the_start_the_first_failure_is_told() {
    let mut watcher = watcher();
    watcher.next(Duration::ZERO);
    let body = br#"{"kind":"Status","message":"pods is forbidden: User x cannot list","code":1}"#;
    watcher.refused(Duration::ZERO, 403, body, None);
    let [Notice::Failing { reason: Reason::Forbidden, text }] = &watcher.take_notices()[..] else { panic!("one") };
    assert_eq!(text, "status 403: pods is forbidden: User x cannot list");
    assert!(!watcher.known().take_change(SECOND), "nothing is known, not that there is nothing");
}

#[test]
fn a_token_that_was_refused_is_tried_again_soon() {
    let mut watcher = listed(&[]);
    watcher.next(Duration::ZERO);
    watcher.refused(HOUR, 401, b"Unauthorized", None);
    let Step::Wait(until) = watcher.next(HOUR) else { panic!("a pause") };
    assert!((HOUR + SECOND..=HOUR + 2 * SECOND).contains(&until));
    watcher.next(until);
    watcher.opened(until);
    assert!(watcher.take_notices().is_empty(), "it was one attempt");
}

#[test]
fn a_server_that_is_busy_is_obeyed() {
    let mut watcher = listed(&[]);
    watcher.next(Duration::ZERO);
    watcher.refused(Duration::ZERO, 429, b"", Some(Duration::from_secs(70)));
    assert_eq!(watcher.next(SECOND), Step::Wait(70 * SECOND));
}

#[test]
fn watches_that_end_at_once_do_not_spin() {
    let mut watcher = listed(&[]);
    let (mut now, mut asked) = (Duration::ZERO, 0);
    while now < HOUR {
        match watcher.next(now) {
            Step::Wait(until) => now = until,
            _ => {
                asked += 1;
                watcher.opened(now);
                watcher.ended(now);
            }
        }
    }
    assert!((100..400).contains(&asked), "{asked} attempts in an hour");
    assert!(watcher.take_notices().is_empty(), "each went well");
}

#[test]
fn a_list_without_end_is_given_up() {
    let mut watcher = watcher();
    watcher.next(Duration::ZERO);
    let mut pages = 0;
    while watcher.take_restarts().is_empty() {
        watcher.listed(Duration::ZERO, &page("5", "more", &[]));
        pages += 1;
    }
    assert_eq!(pages, 1000);
    assert!(matches!(watcher.next(Duration::ZERO), Step::Wait(_)));
}

#[test]
fn more_pods_than_the_bound_are_left_out_and_that_is_known() {
    let many: Vec<_> = (0..OBJECTS_MAX + 10).map(|at| pod(&format!("p{at}"), "1")).collect();
    let mut watcher = listed(&many);
    assert_eq!(watcher.known().living(), OBJECTS_MAX);
    assert!(watcher.known().is_truncated());
    watcher.next(Duration::ZERO);
    watcher.line(Duration::ZERO, &event("DELETED", &pod("p7", "1")));
    watcher.line(Duration::ZERO, &event("ADDED", &pod("new", "1")));
    assert_eq!(watcher.known().living(), OBJECTS_MAX, "what is gone makes room");
    assert!(names(&mut watcher).contains(&"new=1".to_string()));
}

proptest! {
    /// Whatever a server says, there is no panic, what was listed is never forgotten before its time, and there is no loop
    /// without pauses.
    #[test]
    fn any_server_is_survived(script in proptest::collection::vec((0u8..12, "[ -~]{0,20}"), 1..60)) {
        let mut watcher = listed(&[pod("a", "1")]);
        let mut now = Duration::ZERO;
        let mut at_once = 0;
        for (what, text) in script {
            match watcher.next(now) {
                Step::Wait(until) => {
                    prop_assert!(until > now && until <= now + Duration::from_secs(300));
                    now = until;
                    at_once = 0;
                    continue;
                }
                Step::List(_) => match what {
                    0..4 => watcher.listed(now, &page("3", if what == 0 { "more" } else { "" }, &[pod("a", &text)])),
                    4..6 => watcher.listed(now, text.as_bytes()),
                    6 => watcher.lost(now, text),
                    _ => watcher.refused(now, 400 + u16::from(what), text.as_bytes(), None),
                },
                Step::Watch { .. } => match what {
                    0..3 => {
                        watcher.opened(now);
                        prop_assert!(watcher.line(now, &event("MODIFIED", &pod("a", &text))));
                        watcher.ended(now);
                    }
                    3 => prop_assert!(!watcher.line(now, &gone_error())),
                    4..6 => {
                        if watcher.line(now, text.as_bytes()) {
                            watcher.lost(now, "end".into());
                        }
                    }
                    6 => watcher.ended(now),
                    7 => watcher.lost(now, text),
                    _ => watcher.refused(now, 402 + u16::from(what), text.as_bytes(), None),
                },
            }
            at_once += 1;
            // Pages of a list, and the watch behind it.
            prop_assert!(at_once < 40);
            prop_assert_eq!(watcher.known().iter().count(), 1);
        }
    }
}
