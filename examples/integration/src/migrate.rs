use std::error::Error;

use task_lifecycle::{Previous, Revision, Run, Snapshot, Status, Task};

/// A row of the old table.
pub struct Old {
    pub status: String,
    pub document: String,
    /// The status and the document that a cancelled update has to bring back.
    pub before: Option<(String, String)>,
    pub version: u64,
}

#[derive(PartialEq, Debug)]
pub struct Document {
    pub text: String,
    pub step: Option<String>,
}

pub fn migrate(old: Old) -> Result<Task<Document>, Box<dyn Error>> {
    let part = |status: &str, text| -> Result<(Status, Document), Box<dyn Error>> {
        let (status, step) = match status {
            "queued" | "pending" => (Status::Starting, None),
            // Sub-states belong in the payload.
            "ocr" | "layout" | "chunking" => (Status::Processing, Some(status.to_owned())),
            "done" => (Status::Succeeded, None),
            "error" | "timed out" => (Status::Failed, None),
            "cancelled" => (Status::Cancelled, None),
            unknown => return Err(format!("unknown status {unknown:?}").into()),
        };
        Ok((status, Document { text, step }))
    };
    let (status, payload) = part(&old.status, old.document)?;
    let previous = match old.before {
        Some((status, text)) => {
            let (status, payload) = part(&status, text)?;
            Some(Previous { status, payload })
        }
        None => None,
    };
    let revision = Revision::new(old.version);
    Ok(Snapshot { status, revision, run: Run::default(), payload, previous }.try_into()?)
}
