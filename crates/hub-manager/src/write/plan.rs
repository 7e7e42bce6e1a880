//! What has to be done about one object of a cluster. Pure.

use serde_json::Value;

use super::observation::Observation;

/// What has to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is as it shall be.
    Nothing,
    /// Apply it. Where nothing is there, it must not turn out that somebody else made it meanwhile.
    Apply {
        /// Whether nothing is there yet.
        new: bool,
        /// Whether fields that somebody edited are taken back.
        force: bool,
        /// Whether somebody added fields, which applying alone leaves there.
        replace: bool,
    },
    /// Delete it.
    Delete,
    /// Leave it alone, for the reason.
    Refuse(String),
}

/// What has to be done so that what is there becomes what is wanted. Objects of the hub are those with the label of `owner`.
/// `collect` says that what is the hub's and not wanted is garbage.
///
/// Fields that people edit are taken back. A field manager that *applies* says that it means to keep its fields, and would write
/// them again: with it no fight is begun.
pub fn step(owner: &str, wanted: Option<&Value>, there: Option<&Observation>, collect: bool) -> Step {
    match (wanted, there) {
        (None, None) => Step::Nothing,
        (None, Some(there)) if collect && there.is_of(owner) && !there.deleting => Step::Delete,
        (None, Some(_)) => Step::Nothing,
        (Some(_), None) => Step::Apply { new: true, force: false, replace: false },
        (Some(_), Some(there)) if !there.is_of(owner) => Step::Refuse(match there.plane() {
            Some(plane) => {
                format!("an object of this name is there of another management plane ({plane}); it is left as it is")
            }
            None => "somebody else's object of this name is there; it is left as it is".to_owned(),
        }),
        (Some(_), Some(there)) if there.deleting => {
            Step::Refuse("it is being deleted, and something holds that up".to_owned())
        }
        (Some(wanted), Some(there)) if there.is_as(wanted) => Step::Nothing,
        (Some(_), Some(there)) => Step::Apply {
            new: false,
            force: there.appliers.is_empty(),
            replace: there.edited && there.appliers.is_empty(),
        },
    }
}

#[cfg(test)]
mod tests {
    use mesh_types::hub::names::LABEL_OWNER;
    use serde_json::json;

    use super::*;

    fn wanted(content: u32) -> Value {
        json!({ "metadata": { "labels": { LABEL_OWNER: "hub" } }, "spec": { "content": content } })
    }

    fn of(owner: &str, content: u32) -> Observation {
        Observation::of(&json!({ "metadata": { "labels": { LABEL_OWNER: owner } }, "spec": { "content": content } }))
    }

    #[test]
    fn what_is_missing_is_made_and_what_differs_is_written() {
        assert_eq!(step("hub", Some(&wanted(1)), None, true), Step::Apply { new: true, force: false, replace: false });
        assert_eq!(step("hub", Some(&wanted(1)), Some(&of("hub", 1)), true), Step::Nothing);
        let other = step("hub", Some(&wanted(1)), Some(&of("hub", 2)), true);
        assert_eq!(other, Step::Apply { new: false, force: true, replace: false });
    }

    #[test]
    fn what_is_somebody_elses_is_neither_written_nor_deleted() {
        let refusal = |there: &Observation| match step("hub", Some(&wanted(1)), Some(there), true) {
            Step::Refuse(reason) => reason,
            other => panic!("{other:?}"),
        };
        assert!(refusal(&of("other", 1)).contains("another management plane (other)"));
        assert!(refusal(&Observation::default()).contains("somebody else's"));
        assert_eq!(step("hub", None, Some(&of("other", 1)), true), Step::Nothing);
        assert_eq!(step("hub", None, Some(&Observation::default()), true), Step::Nothing);
    }

    #[test]
    fn garbage_is_collected_once_it_is_known_what_is_wanted() {
        assert_eq!(step("hub", None, Some(&of("hub", 1)), true), Step::Delete);
        assert_eq!(step("hub", None, Some(&of("hub", 1)), false), Step::Nothing);
        let leaving = Observation { deleting: true, ..of("hub", 1) };
        assert_eq!(step("hub", None, Some(&leaving), true), Step::Nothing);
    }

    #[test]
    fn an_edit_is_taken_back_and_a_rival_that_applies_is_not_fought() {
        let edited = Observation { edited: true, ..of("hub", 2) };
        let back = step("hub", Some(&wanted(1)), Some(&edited), true);
        assert_eq!(back, Step::Apply { new: false, force: true, replace: true });
        let rival = Observation { appliers: vec!["argocd".to_owned()], ..of("hub", 2) };
        let polite = step("hub", Some(&wanted(1)), Some(&rival), true);
        assert_eq!(polite, Step::Apply { new: false, force: false, replace: false });
    }
}
