use super::*;

#[test]
fn a_print_tells_what_decides_on_answers_from_what_does_not() {
    let edited = |value| {
        let mut plan = ForwardPlan::to("up".into());
        let mut value = HeaderValue::from_static(value);
        value.set_sensitive(true);
        plan.response_headers.set.push((FieldName::from_static("x-tag"), value));
        plan
    };
    let print = |plan| {
        let (name, matcher) = ("r".into(), Matcher::default());
        RoutePlan { name, matcher, action: Action::Forward(plan) }.print()
    };
    assert_eq!(print(edited("a")), print(edited("a")));
    let elsewhere = ForwardPlan { cluster: "other".into(), ..edited("a") };
    let kept = ForwardPlan { cache: Some(Arc::default()), ..edited("a") };
    for other in [edited("b"), elsewhere, kept] {
        assert_ne!(print(edited("a")), print(other));
    }
    let timeouts = Timeouts { total: Some(Duration::from_secs(1)), ..Timeouts::default() };
    assert_eq!(print(edited("a")), print(ForwardPlan { timeouts, ..edited("a") }));
}
