//! What really happened outside: which calls landed, when, and under which key. It knows all, and
//! nothing that the runtime says changes it.

use std::collections::BTreeMap;

/// All that was done to the world, and all that is still on its way.
#[derive(Debug, Default)]
pub struct Ledger {
    deeds: BTreeMap<String, Deed>,
    /// The deed that each key stands for.
    keys: BTreeMap<String, String>,
    on_the_way: Vec<Landing>,
}

/// What became of one call of the model, whatever its attempts.
#[derive(Debug, Default, Clone)]
pub struct Deed {
    pub landed: u32,
    /// The journal says that it did not land.
    pub denied: bool,
    /// A process that had lost its run began it: no fence reaches that.
    pub beyond_fence: bool,
}

/// An attempt that lands in a while.
#[derive(Debug, Clone)]
pub struct Landing {
    pub at_ms: u64,
    pub reference: String,
    pub key: Option<String>,
    pub ticket: u64,
}

impl Ledger {
    pub fn deed(&mut self, reference: &str) -> &mut Deed {
        self.deeds.entry(reference.to_owned()).or_default()
    }

    pub fn deeds(&self) -> impl Iterator<Item = (&String, &Deed)> {
        self.deeds.iter()
    }

    pub fn has_landed(&self, reference: &str) -> bool {
        self.deeds.get(reference).is_some_and(|deed| deed.landed > 0)
    }

    pub fn is_on_the_way(&self, reference: &str) -> bool {
        self.on_the_way.iter().any(|landing| landing.reference == reference)
    }

    /// Returns when the last of what is on its way has landed.
    pub fn quiet_at_ms(&self) -> Option<u64> {
        self.on_the_way.iter().map(|landing| landing.at_ms).max()
    }

    pub fn knows_key(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    pub fn send(&mut self, landing: Landing) {
        self.on_the_way.push(landing);
    }

    /// Takes back what has not landed yet; false if there is nothing to take back.
    pub fn recall(&mut self, ticket: u64) -> bool {
        let before = self.on_the_way.len();
        self.on_the_way.retain(|landing| landing.ticket != ticket);
        self.on_the_way.len() < before
    }

    /// Lets everything land that is due. Returns what was wrong with it, and what landed.
    pub fn land(&mut self, now_ms: u64) -> (Vec<String>, Vec<String>) {
        let (mut wrong, mut landed) = (Vec::new(), Vec::new());
        loop {
            let due = self.on_the_way.iter().filter(|landing| landing.at_ms <= now_ms);
            let Some(next) = due.min_by_key(|landing| (landing.at_ms, landing.ticket)).cloned()
            else {
                return (wrong, landed);
            };
            self.recall(next.ticket);
            if let Some(key) = &next.key {
                match self.keys.get(key) {
                    // The second call lands on the first.
                    Some(first) if *first == next.reference => continue,
                    Some(first) => {
                        wrong.push(format!("{} used the key of {first}", next.reference));
                        continue;
                    }
                    None => self.keys.insert(key.clone(), next.reference.clone()),
                };
            }
            let deed = self.deed(&next.reference);
            deed.landed += 1;
            if deed.landed > 1 && !deed.beyond_fence {
                wrong.push(format!("{} landed {} times", next.reference, deed.landed));
            }
            if deed.denied && !deed.beyond_fence {
                wrong.push(format!("{} landed after it was said not to have", next.reference));
            }
            landed.push(next.reference);
        }
    }
}
