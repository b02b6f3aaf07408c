//! Whatever is asked of whatever a run has seen: an answer within its bounds, or a refusal.

use proptest::prelude::*;

use super::*;

fn words() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("1.1".to_owned()),
        Just("2.1".to_owned()),
        Just("turn 1".to_owned()),
        Just("$".to_owned()),
        Just("..".to_owned()),
        Just("[*]".to_owned()),
        Just("[?@.a==1]".to_owned()),
        Just("(a|ä)*".to_owned()),
        Just("^.$".to_owned()),
        Just("ä€b".to_owned()),
        any::<String>(),
    ];
    proptest::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat())
}

fn arguments() -> impl Strategy<Value = Value> {
    let handle = prop_oneof![
        Just("1.1".to_owned()),
        Just("2.1".to_owned()),
        Just("turn 2".to_owned()),
        words()
    ];
    let offset = prop_oneof![Just(0_u64), 0..40_000_u64, any::<u64>()];
    let how = prop_oneof![
        (handle.clone(), offset.clone()).prop_map(|(h, o)| json!({"handle": h, "offset": o})),
        (handle.clone(), words(), offset.clone())
            .prop_map(|(h, r, o)| json!({"handle": h, "regex": r, "offset": o})),
        (handle, words()).prop_map(|(h, p)| json!({"handle": h, "path": p})),
        (words(), 0..3_u64).prop_map(|(q, o)| json!({"query": q, "offset": o})),
        (words(), 0..3_u64).prop_map(|(r, o)| json!({"regex": r, "offset": o})),
    ];
    how.boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_question_has_an_answer_within_bounds_or_a_refusal(
        said in any::<String>(),
        repeated in 1..2_000_usize,
        asked in proptest::collection::vec(arguments(), 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut past = Past::begin();
            let text = format!("{said}ä€b\n").repeat(repeated);
            let text = text[..text.floor_char_boundary(30_000)].to_owned();
            past.turn("say", json!({"said": said}), ToolResult::text(text.clone()));
            past.turn("list", json!({}), ToolResult::json(json!([{"a": 1, "b": [said, text]}])));
            past.answer("So.", &[]);
            let shelf = past.store().await;
            for arguments in asked {
                // Its bounds are checked by the shelf.
                match shelf.ask(arguments.clone()).await {
                    Reply::Returned(_) => {}
                    Reply::Refused(Refusal { kind, message, .. }) => {
                        assert!(kind.is_some() && !message.is_empty(), "{arguments}");
                    }
                    other => panic!("{arguments}: {other:?}"),
                }
            }
        });
    }
}
