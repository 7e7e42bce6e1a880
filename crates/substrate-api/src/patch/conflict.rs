//! Why an apply was refused, in the shape of Kubernetes' status.

use std::fmt;

use serde_json::{Value, json};

/// A field that the applied configuration changes and another manager owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The other manager, quoted, with what it wrote by: `"kubectl" using apps/v1 at 2026-01-01T00:00:00Z`.
    pub manager: String,
    /// Path of the field, such as `.spec.replicas`.
    pub field: String,
}

/// Why an applied configuration was not taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Other managers own fields with other values, and `force` was not given: 409.
    Conflicts {
        /// One entry per field and manager, sorted by manager.
        conflicts: Vec<Conflict>,
    },
    /// The configuration cannot be understood under its schema: 400.
    Invalid {
        /// What is wrong with it.
        message: String,
    },
}

impl fmt::Display for ApplyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApplyError::Invalid { message } => formatter.write_str(message),
            ApplyError::Conflicts { conflicts } => write_conflicts(formatter, conflicts),
        }
    }
}

fn write_conflicts(formatter: &mut fmt::Formatter<'_>, conflicts: &[Conflict]) -> fmt::Result {
    if let [only] = conflicts {
        return write!(formatter, "Apply failed with 1 conflict: conflict with {}: {}", only.manager, only.field);
    }
    write!(formatter, "Apply failed with {} conflicts:", conflicts.len())?;
    let mut manager = "";
    for (index, conflict) in conflicts.iter().enumerate() {
        if index == 0 || conflict.manager != manager {
            manager = &conflict.manager;
            let several = conflicts.iter().filter(|other| other.manager == manager).count() > 1;
            let noun = if several { "conflicts" } else { "conflict" };
            let separator = if index == 0 { " " } else { "\n" };
            write!(formatter, "{separator}{noun} with {manager}:")?;
        }
        write!(formatter, "\n- {}", conflict.field)?;
    }
    Ok(())
}

impl ApplyError {
    /// HTTP status code.
    pub fn code(&self) -> u16 {
        match self {
            ApplyError::Conflicts { .. } => 409,
            ApplyError::Invalid { .. } => 400,
        }
    }

    /// `reason` of the `metav1.Status`.
    pub fn reason(&self) -> &'static str {
        match self {
            ApplyError::Conflicts { .. } => "Conflict",
            ApplyError::Invalid { .. } => "BadRequest",
        }
    }

    /// `details.causes` of the `metav1.Status`.
    pub fn causes(&self) -> Vec<Value> {
        let ApplyError::Conflicts { conflicts } = self else { return Vec::new() };
        let cause = |conflict: &Conflict| {
            json!({
                "reason": "FieldManagerConflict",
                "message": format!("conflict with {}", conflict.manager),
                "field": conflict.field,
            })
        };
        conflicts.iter().map(cause).collect()
    }
}
