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
        find: "call.haunted |= retried.failure.kind == crate::outcome::kind::LOST;",
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
        find: "let results = self.open.drain(..).filter_map(|open| open.result).map(Block::ToolResult);",
        replace: "let results = self.open.drain(..).rev().filter_map(|open| open.result).map(Block::ToolResult);",
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
        file: "crates/prusik-core/src/run/transcript.rs",
        find: "self.keep(of, UNDO_UNKNOWN);",
        replace: "",
        why: "an undo that may have landed is made again",
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
