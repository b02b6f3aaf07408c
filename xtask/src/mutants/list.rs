//! The planted mistakes: each one a small change of one file, and why it would be dangerous.

/// A mistake that the simulator or the oracle must find.
#[derive(Debug, Clone, Copy)]
pub struct Mutant {
    pub name: &'static str,
    /// From the root of the repository.
    pub file: &'static str,
    /// Occurs exactly once in the file.
    pub find: &'static str,
    pub replace: &'static str,
    pub why: &'static str,
}

pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "act-before-append",
        file: "crates/prusik-engine/src/driver.rs",
        find: "if effect.after <= self.held.durable {",
        replace: "if effect.after <= self.held.run.head().seq {",
        why: "an effect is performed before its intent is durable",
    },
    Mutant {
        name: "resume-before-durable",
        file: "crates/prusik-core/src/run/state.rs",
        find: "for call in self.calls.values_mut() {
                    call.intent = self.seq;
                }",
        replace: "",
        why: "a resumed call is performed while the journal still says parked, and then once more",
    },
    Mutant {
        name: "forget-haunted",
        file: "crates/prusik-core/src/run/state.rs",
        find: "call.haunted |= retried.failure.kind == kind::LOST;",
        replace: "",
        why: "a refusal that an earlier attempt caused is taken for a failure",
    },
    Mutant {
        name: "retry-a-lost-write",
        file: "crates/prusik-core/src/run/reply.rs",
        find: "EffectClass::Idempotent if self.next_try(",
        replace: "EffectClass::Idempotent | EffectClass::Write if self.next_try(",
        why: "a write whose answer was lost is made again",
    },
    Mutant {
        name: "probe-not-landed-is-landed",
        file: "crates/prusik-core/src/run/reply.rs",
        find: "            return Ok(None);
        }
        match &probe.result {",
        replace: "            return Ok(Some(found));
        }
        match &probe.result {",
        why: "a call that did not land is said to have landed",
    },
    Mutant {
        name: "probe-without-waiting",
        file: "crates/prusik-core/src/run/state.rs",
        find: "let not_before = at.plus_ms(probe.map_or(0, |probe| probe.wait_ms));",
        replace: "let not_before = at.plus_ms(probe.map_or(0, |_| 0));",
        why: "a probe asks before a late call has landed, and the call is made again",
    },
    Mutant {
        name: "key-changes-with-the-record",
        file: "crates/prusik-core/src/run/mod.rs",
        find: "Digest::of_parts(&[b\"prusik idempotency key\", run.as_bytes(), call.to_string().as_bytes()]);",
        replace: "Digest::of_parts(&[b\"prusik idempotency key\", run.as_bytes(), state.seq.to_string().as_bytes()]);",
        why: "the second attempt of an idempotent call lands beside the first",
    },
    Mutant {
        name: "budget-after-the-spend",
        file: "crates/prusik-core/src/run/budget.rs",
        find: "(spent >= limit).then_some((spent, limit))",
        replace: "(spent > limit).then_some((spent, limit))",
        why: "a ceiling is noticed after it is passed",
    },
    Mutant {
        name: "calls-over-budget",
        file: "crates/prusik-core/src/run/decide.rs",
        find: "let calls = ready.into_iter().take(left).collect();",
        replace: "let calls = ready.into_iter().take(left.max(8)).collect();",
        why: "a turn starts more calls than are left",
    },
    Mutant {
        name: "tokens-over-budget",
        file: "crates/prusik-core/src/run/budget.rs",
        find: "cap = cap.min(limit.saturating_sub(state.spent.tokens).saturating_sub(input));",
        replace: "cap = cap.min(limit.saturating_sub(state.spent.tokens));",
        why: "an answer's input is not counted before it is paid",
    },
    Mutant {
        name: "recovery-trusts-writes",
        file: "crates/prusik-core/src/run/decide.rs",
        find: "let doubted = self.started_calls(|effect| effect == EffectClass::Write);",
        replace: "let doubted = self.started_calls(|effect| effect == EffectClass::Read);",
        why: "a write that was under way in a crash is made again without a question",
    },
    Mutant {
        name: "resume-while-in-doubt",
        file: "crates/prusik-core/src/run/decide.rs",
        find: "if !self.state.doubts().is_empty() => {",
        replace: "if self.state.doubts().len() > 900 => {",
        why: "a run goes on although nobody has said whether its call landed",
    },
    Mutant {
        name: "cancel-forgets-open-writes",
        file: "crates/prusik-core/src/run/decide.rs",
        find: "let in_doubt = self.state.unresolved(self.definition);",
        replace: "let in_doubt = Vec::new();",
        why: "a cancelled run does not say which calls may have landed",
    },
    Mutant {
        name: "stale-replies-count",
        file: "crates/prusik-core/src/run/mod.rs",
        find: "if self.under_way.remove(&id) { Ok(()) } else { Err(Rejected::Stale) }",
        replace: "let _ = self.under_way.remove(&id); Ok(())",
        why: "an outcome that nobody waits for decides a call",
    },
    Mutant {
        name: "swapped-results",
        file: "crates/prusik-core/src/run/transcript.rs",
        find: "for OpenCall { call, tool, label, echoes, result, .. } in self.open.drain(..) {",
        replace: "for OpenCall { call, tool, label, echoes, result, .. } in self.open.drain(..).rev() {",
        why: "the model reads the result of one call as that of another",
    },
    Mutant {
        name: "snapshot-keeps-stale-state",
        file: "crates/prusik-core/src/run/mod.rs",
        find: "        run.follow(records)?;
        Ok(Some(run))",
        replace: "        for record in records { run.head.follow(record)?; run.absorb(&record.event()?); }
        Ok(Some(run))",
        why: "what came after a snapshot is forgotten",
    },
    Mutant {
        name: "ended-runs-go-on",
        file: "crates/prusik-core/src/run/mod.rs",
        find: "        if self.state.ended() && !matches!(input, Input::Compensated { .. }) {
            return Err(Rejected::Ended);
        }
        self.note(&input, now.at)?;",
        replace: "        self.note(&input, now.at)?;",
        why: "an ended run takes an input and writes on",
    },
    Mutant {
        name: "undo-forgets-the-oldest",
        file: "crates/prusik-core/src/run/group.rs",
        find: "made.sort_by_key(|change| std::cmp::Reverse(change.call));",
        replace: "made.sort_by_key(|change| std::cmp::Reverse(change.call)); made.pop();",
        why: "a group is undone but for one of its calls",
    },
    Mutant {
        name: "commit-forgets-what-waits",
        file: "crates/prusik-core/src/run/group.rs",
        find: "let calls = open.waiting.iter().filter_map(|waiting| {",
        replace: "let calls = open.waiting.iter().skip(1).filter_map(|waiting| {",
        why: "a group is committed without a call that waited for that",
    },
    Mutant {
        name: "answer-leaves-groups-open",
        file: "crates/prusik-core/src/run/answer.rs",
        find: "if !open.is_empty() {
            self.send_back_open_groups",
        replace: "if open.len() > 900 {
            self.send_back_open_groups",
        why: "a run completes with a group that is neither committed nor undone",
    },
    Mutant {
        name: "end-leaves-groups-open",
        file: "crates/prusik-core/src/run/group.rs",
        find: "if open.is_empty() {
            self.finish(ending);",
        replace: "if open.len() < 900 {
            self.finish(ending);",
        why: "a run that fails or is cancelled keeps half of a group",
    },
    Mutant {
        name: "undo-twice",
        file: "crates/prusik-core/src/run/changes.rs",
        find: "self.keep(of, UNDO_UNKNOWN);",
        replace: "",
        why: "an undo that may have landed is made again",
    },
    Mutant {
        name: "brief-without-ledger",
        file: "crates/prusik-core/src/run/context/head.rs",
        find: "ledger_text(&state.ledger).into_iter().chain(open).collect();",
        replace: "open.into_iter().collect();",
        why: "what must outlive every summary does not",
    },
    Mutant {
        name: "brief-not-shown",
        file: "crates/prusik-core/src/run/context/head.rs",
        find: "let brief = (!replaced.brief.is_empty()).then(|| replaced.brief.clone());",
        replace: "let brief = None;",
        why: "the ledger is in the journal, and the model is not shown it",
    },
    Mutant {
        name: "entries-of-many-lines",
        file: "crates/prusik-core/src/ledger.rs",
        find: "text.replace('\\n', \"\\n        \")",
        replace: "text.to_owned()",
        why: "a line of one entry passes for another entry",
    },
    Mutant {
        name: "superseded-entries-stay",
        file: "crates/prusik-core/src/ledger.rs",
        find: "self.entries.retain(|known| known.id != old);",
        replace: "let _ = old;",
        why: "what no longer holds is told as if it did",
    },
    Mutant {
        name: "ledger-without-end",
        file: "crates/prusik-core/src/ledger.rs",
        find: "if used.saturating_sub(freed).saturating_add(bytes) > max {",
        replace: "if used.saturating_sub(freed).saturating_add(bytes) > max.max(1 << 20) {",
        why: "entries that never go fill the window",
    },
    Mutant {
        name: "boundary-one-turn-late",
        file: "crates/prusik-core/src/run/context/compact.rs",
        find: "(kept > 1).then_some(Boundary { through: last.turn, from_seq: about.seq })",
        replace: "(kept > 1).then_some(Boundary { through: about.turn, from_seq: last.seq })",
        why: "a summary stands for a turn that nobody has summed up",
    },
    Mutant {
        name: "reload-one-record-late",
        file: "crates/prusik-core/src/run/context/compact.rs",
        find: "(kept > 1).then_some(Boundary { through: last.turn, from_seq: about.seq })",
        replace: "(kept > 1).then_some(Boundary { through: last.turn, from_seq: about.seq.next() })",
        why: "whoever takes the run over reads less than was shown",
    },
    Mutant {
        name: "folded-results-come-back",
        file: "crates/prusik-core/src/run/context/compact.rs",
        find: "let folded = transcript.folded().union(fold).copied();",
        replace: "let folded = fold.iter().copied();",
        why: "what was a handle is whole again for whoever reads the run back",
    },
    Mutant {
        name: "newest-results-folded",
        file: "crates/prusik-core/src/run/context/compact.rs",
        find: "let (fold, _) = fold::choose(transcript, 1..kept, excess);",
        replace: "let (fold, _) = fold::choose(transcript, 1..transcript.messages().len(), excess);",
        why: "the model calls, and is not shown what came back",
    },
    Mutant {
        name: "label-of-results-forgotten",
        file: "crates/prusik-core/src/run/state.rs",
        find: "self.draw_on(&label);",
        replace: "let _ = &label;",
        why: "what the model says after it has read a stranger's text is trusted",
    },
    Mutant {
        name: "label-of-summaries-forgotten",
        file: "crates/prusik-core/src/run/transcript.rs",
        find: "            label.join(&compacted.label);
        }
        for result in self.about[of]",
        replace: "            let _ = compacted;
        }
        for result in self.about[of]",
        why: "a summary of a summary is trusted more than the first",
    },
    Mutant {
        name: "entries-of-the-model-are-trusted",
        file: "crates/prusik-core/src/run/context/ledger.rs",
        find: "let label = self.state.label();
                let record = self",
        replace: "let label = Label::trusted();
                let record = self",
        why: "a stranger's text gets into the ledger as the model's own",
    },
    Mutant {
        name: "threshold-ignored",
        file: "crates/prusik-core/src/run/context/view.rs",
        find: "(state.context.in_window() > threshold).then_some(CompactReason::Threshold)",
        replace: "(state.context.in_window() > threshold.max(1 << 40)).then_some(CompactReason::Threshold)",
        why: "a context is made smaller only once the provider refuses it",
    },
    Mutant {
        name: "learned-room-ignored",
        file: "crates/prusik-core/src/run/context/view.rs",
        find: "self.room_learned.map_or(room, |learned| learned.min(room))",
        replace: "self.room_learned.map_or(room, |_| room)",
        why: "a prompt that the provider has refused is sent again and again",
    },
    Mutant {
        name: "any-summary-is-taken",
        file: "crates/prusik-core/src/run/context/summary.rs",
        find: "if problems.is_empty() { Ok(summary) } else { Err(shortened(problems)) }",
        replace: "if problems.len() < 900 { Ok(summary) } else { Err(shortened(problems)) }",
        why: "what says nothing stands for all that was done",
    },
    Mutant {
        name: "cut-summaries-are-taken",
        file: "crates/prusik-core/src/run/context/summary.rs",
        find: "            return one(\"it was cut off: be shorter\");",
        replace: "",
        why: "half a summary stands for all that was done",
    },
    Mutant {
        name: "summary-acts",
        file: "crates/prusik-core/src/run/mod.rs",
        find: "if draft.state.agent_loop().summary.is_some() {",
        replace: "if draft.state.agent_loop().summary.is_some() && answer.content.len() > 900 {",
        why: "what a model writes instead of a summary is taken for its answer",
    },
    Mutant {
        name: "attempts-stay-after-a-summary",
        file: "crates/prusik-core/src/run/program.rs",
        find: "                    wanted.refused = Some(Arc::new(refused.clone()));
                }
                self.ask_anew();",
        replace: "                    wanted.refused = Some(Arc::new(refused.clone()));
                }",
        why: "two requests have one name, and a recording answers the second with the first",
    },
    Mutant {
        name: "summaries-before-they-are-durable",
        file: "crates/prusik-core/src/run/state.rs",
        find: "                // It is money, as an answer is.
                self.outcome_seq = self.seq;",
        replace: "",
        why: "a summary is paid for twice, and two prompts go on from it",
    },
    Mutant {
        name: "summaries-at-another-price",
        file: "crates/prusik-core/src/run/budget.rs",
        find: "let model = definition.summarizer();",
        replace: "let model = &definition.model;",
        why: "a summary passes the ceiling that no answer may",
    },
    Mutant {
        name: "tools-in-another-order",
        file: "crates/prusik-core/src/agent.rs",
        find: "input_schema.sort_all_objects();",
        replace: "input_schema.as_object_mut();",
        why: "whoever takes a run over pays for its whole prompt again",
    },
    Mutant {
        name: "acknowledge-before-commit",
        file: "crates/prusik-store/src/sqlite/writer.rs",
        find: "            .and_then(|()| self.execute(\"COMMIT\"));",
        replace: "            .and_then(|()| self.execute(\"ROLLBACK\"));",
        why: "a step is called durable and is not",
    },
    Mutant {
        name: "fence-not-checked",
        file: "crates/prusik-store/src/sqlite/lease.rs",
        find: "\"SELECT key, head_seq, head_hash FROM runs
             WHERE id = ?1 AND fence = ?2 AND owner = ?3\",",
        replace: "\"SELECT key, head_seq, head_hash FROM runs
             WHERE id = ?1 AND ?2 = ?2 AND ?3 = ?3\",",
        why: "a driver that lost its run goes on writing",
    },
    Mutant {
        name: "signals-stay",
        file: "crates/prusik-store/src/sqlite/write.rs",
        find: "conn.prepare_cached(\"DELETE FROM signals WHERE run = ?1\")?.execute([run.key])?;",
        replace: "",
        why: "a message is taken again and again",
    },
    Mutant {
        name: "prune-takes-living-runs",
        file: "crates/prusik-store/src/memory.rs",
        find: "run.row.as_ref().is_some_and(|row| row.ended)",
        replace: "run.row.is_some()",
        why: "a run that goes on is deleted",
    },
    Mutant {
        name: "blobs-of-living-runs-go",
        file: "crates/prusik-store/src/memory.rs",
        find: "run.refs.extend(&step.refs);",
        replace: "",
        why: "bytes that a run still names are pruned",
    },
];
