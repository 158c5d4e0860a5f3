//! Writing permissions down as rules that give them again.
//!
//! What is kept of the command rules is one bit a command, so the rules are found anew: beginning
//! with all or nothing, the categories that fit best, then single commands for the rest. The choice
//! of categories is Redis's, because people and tools compare the lines.

use super::catalogue::Catalogue;
use super::selector::Selector;

impl Selector {
    /// The rules for commands: `+@all` or `-@all`, then what differs.
    pub fn command_rules(&self, catalogue: &Catalogue) -> Vec<u8> {
        let adds = !self.has_future_commands();
        let sign = if adds { '+' } else { '-' };
        let mut rules = vec![if adds { "-@all" } else { "+@all" }.to_owned()];
        let mut reached = Selector::new(catalogue, false);
        let start = reached.apply(catalogue, rules[0].as_bytes());
        debug_assert!(start.is_ok(), "both rules exist");

        // `left` is what is still to be expressed: a category that was used is taken out of it.
        let mut left = self.clone();
        let mut used = 0;
        while let Some(bit) = best_category(&left, catalogue, adds, used) {
            let name = catalogue.categories()[bit.trailing_zeros() as usize];
            rules.push(format!("{sign}@{name}"));
            for id in catalogue.in_category(bit) {
                reached.set_command(catalogue, id, adds);
                left.set_command(catalogue, id, !adds);
            }
            used |= bit;
        }
        let mut rules: Vec<Vec<u8>> = rules.into_iter().map(String::into_bytes).collect();
        for (id, row) in catalogue.rows().iter().enumerate() {
            let allowed = self.has_command(id);
            if allowed != reached.has_command(id) {
                let sign = if allowed { b"+" } else { b"-" };
                rules.push([sign, row.name.as_bytes()].concat());
                reached.set_command(catalogue, id, allowed);
            }
            if !allowed {
                let arguments = self.first_arguments(id).iter();
                rules
                    .extend(arguments.map(|word| [b"+", row.name.as_bytes(), b"|", word].concat()));
            }
        }
        rules.join(&b' ')
    }

    /// All rules of the selector.
    pub fn rules(&self, catalogue: &Catalogue) -> Vec<u8> {
        let mut rules = self.key_rules();
        if !rules.is_empty() {
            rules.push(b' ');
        }
        if !self.has_all_channels() {
            rules.extend_from_slice(b"resetchannels ");
        }
        let channels = self.channel_rules();
        if !channels.is_empty() {
            rules.extend_from_slice(&channels);
            rules.push(b' ');
        }
        rules.extend(self.command_rules(catalogue));
        rules
    }
}

/// The category, not yet used, with fewest commands that would be wrong; of those, the one with most
/// that are right. `None` if each would do more harm than good.
fn best_category(left: &Selector, catalogue: &Catalogue, adds: bool, used: u32) -> Option<u32> {
    let mut best: Option<(u32, usize, usize)> = None;
    let bits = (0..catalogue.categories().len()).map(|position| 1 << position);
    for bit in bits.filter(|bit| used & bit == 0) {
        let (mut right, mut wrong) = (0, 0);
        for id in catalogue.in_category(bit) {
            if left.has_command(id) == adds {
                right += 1;
            } else {
                wrong += 1;
            }
        }
        let is_better = best.is_none_or(|(_, best_wrong, best_right)| {
            wrong < best_wrong || (wrong == best_wrong && right > best_right)
        });
        if right > wrong && is_better {
            best = Some((bit, wrong, right));
        }
    }
    best.map(|(bit, ..)| bit)
}
