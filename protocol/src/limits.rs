//! Named limits, each with its unit, and what happens at it.
//!
//! Every decoder checks these before it allocates; every queue states here how
//! long it may grow. Nothing is ever dropped silently at a limit: the sender
//! hears a refusal that names it.
use alloc::format;
use alloc::string::String;

/// A change of more encoded bytes is quarantined as *oversize*.
pub const CHANGE_BYTES_MAX: usize = 8 * 1024;
/// A change of more encoded bytes is refused at the first door, with a message:
/// it could not travel whole to the quarantine.
pub const CHANGE_BYTES_HARD_MAX: usize = 64 * 1024;
/// Fields that one change may carry, known or not.
pub const CHANGE_FIELDS_MAX: usize = 512;
/// Dots that a change may list as seen above its row version; a writer that
/// saw more lists the newest ones, which claims less and can only cost a conflict.
pub const SEEN_DOTS_MAX: usize = 64;
/// Rows of its cascade closure that a delete may list as seen.
pub const CLOSURE_ROWS_MAX: usize = 1024;
/// Sequences beyond this are forged: nobody makes so many changes. Stores count on
/// it that a sequence has a place behind it and fits a signed number.
pub const SEQUENCE_MAX: u64 = u64::MAX >> 8;
/// Days of what a link cost, told in one message.
pub const DAYS_TOLD_MAX: usize = 31;
/// Changes in one group.
pub const GROUP_CHANGES_MAX: usize = 256;
/// A changeset is filled up to this many encoded bytes; one group may exceed it.
pub const CHANGESET_BYTES_TARGET: usize = 16 * 1024;
/// A changeset of more bytes is refused before it is staged.
pub const CHANGESET_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Changes in one changeset: their outcomes fit one message whatever they are.
pub const CHANGESET_CHANGES_MAX: usize = 2048;
/// Changes of a changeset that the hub decides about at once: their outcomes, whatever they
/// are, and a page of one part fit one message.
pub const DELEGATED_CHANGES_MAX: usize = 768;
/// Memory that one batch may take when decoded: a largest group of largest
/// changes takes less. A batch that would take more is refused, so whoever fills
/// one counts [`crate::wire::batch::memory_bytes`].
pub const BATCH_MEMORY_BYTES_MAX: usize = 48 * 1024 * 1024;
/// A reason given to people is cut to this many bytes.
pub const REASON_BYTES_MAX: usize = 240;
/// A downlink page is filled up to this many encoded bytes.
pub const DOWNLINK_BYTES_TARGET: usize = 64 * 1024;
/// A downlink page of more bytes is refused (one hub sequence may exceed the target).
pub const DOWNLINK_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Memory that the sequences of one page may be charged with: some 400,000 rows that
/// go with one delete.
pub const DOWNLINK_MEMORY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Encoded bytes of the rows that a sequence drags along because they are referenced,
/// that may travel with it; of more, as many as fit a page travel ahead of it.
pub const ALONG_BYTES_MAX: usize = 256 * 1024;
/// Encoded bytes of the rows that one hub sequence may change besides the one that its
/// change is about (a cascade, say): a page never splits a sequence, so more go under
/// sequences of their own.
pub const EFFECT_BYTES_MAX: usize = 256 * 1024;
/// A row of more encoded bytes does not travel to sites: they see it as out of their
/// scope, and operators hear of it.
pub const ROW_BYTES_MAX: usize = 1024 * 1024;
/// Rows that one page asks for because parked changes wait for them.
pub const WANTED_ROWS_MAX: usize = 16;
/// Changes that are put into one changeset where it is written against a model: a small
/// computer takes some 2 ms for each.
pub const CODED_CHANGES_TARGET: usize = 512;
/// Bytes that were coded behind a stored model, before another one is stored: making the
/// newest one again takes a small computer some 10 s of work at most.
pub const MODEL_SINCE_BYTES_MAX: usize = 32 * 1024;
/// Batches that were coded behind a stored model, before another one is stored.
pub const MODEL_ENTRIES_MAX: usize = 512;
/// Payload bytes of one staged part of a changeset or a downlink page.
pub const PART_BYTES_MAX: usize = 2 * 1024;
/// A message between gateway and hub, envelope included.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// Memory that the sequences of one such message may be charged with.
pub const MESSAGE_MEMORY_BYTES_MAX: usize = 512 * 1024;
/// A frame on the link between handheld and gateway, before byte stuffing.
pub const FRAME_BYTES_MAX: usize = 72 * 1024;
/// Memory that the sequences of one message on the link may be charged with.
pub const LINK_MEMORY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Encoded bytes of changes that a handheld puts into one offer (one larger group may exceed it).
pub const OFFER_BYTES_TARGET: usize = 8 * 1024;
/// Encoded bytes of rows in one page of the feed (one larger row may exceed it).
pub const FEED_BYTES_TARGET: usize = 16 * 1024;
/// Runs of the hub that are named where a gateway knows others: each start draws one.
pub const LOST_RUNS_MAX: usize = 64;
/// Stretches of sequences that changes of one changeset had at a hub that is lost; what
/// the others had is not told, which claims less.
pub const RETURNED_STRETCHES_MAX: usize = 256;
/// Bytes of a name: table, field, device label, site.
pub const NAME_BYTES_MAX: usize = 63;

/// A text that is to name a site, a device or a handheld.
///
/// # Errors
/// What is needed instead.
pub fn name(text: &str) -> Result<String, String> {
    match is_name(text) {
        true => Ok(text.into()),
        false => Err(format!("a name of 1 to {NAME_BYTES_MAX} bytes of text is needed")),
    }
}

/// Whether a text may name a site, a device or a handheld: of a length, and nothing in
/// it that could end a line or take over somebody's terminal.
pub fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Tables in a schema.
pub const TABLES_MAX: usize = 256;
/// Fields in a table.
pub const FIELDS_MAX: usize = 256;
/// Bytes of a code of an enum or set, of a label, of a unit.
pub const SCHEMA_TEXT_BYTES_MAX: usize = 255;
/// Digits behind the point of a decimal.
pub const SCALE_MAX: u8 = 12;
/// Entries of a `set` or `append` value.
pub const ENTRIES_MAX: usize = 1024;
/// Clock: a stamp further than this ahead of the receiver's own clock is never adopted.
pub const DRIFT_SECONDS_MAX: u64 = 24 * 3600;
/// Clock: time that passes is written down in steps of at least so many seconds, to spare
/// the card.
pub const CLOCK_STEP_S: u64 = 600;
/// No true time is before this program was made: 2025-01-01, in seconds since 1970.
pub const CLOCK_S_MIN: u64 = 1_735_689_600;
/// No true time is behind this, within the life of this program: 2075-01-01, in
/// seconds since 1970.
pub const CLOCK_S_MAX: u64 = 3_313_526_400;
/// Encoded bytes of one group: it must travel whole in one offer. A larger one
/// is put aside where it enters, with a message.
pub const GROUP_BYTES_MAX: usize = CHANGE_BYTES_HARD_MAX;
/// Stretches in one question about fates.
pub const FATES_SPANS_MAX: usize = 64;
/// Changes that one question about fates may name: the answer fits a frame
/// even if each has a reason of its own.
pub const FATES_CHANGES_MAX: u64 = 240;
/// Bytes of schema in one answer on the link.
pub const SCHEMA_PIECE_BYTES_MAX: usize = 8 * 1024;
/// Encoded bytes of a schema; a peer that names more is not believed.
pub const SCHEMA_BYTES_MAX: usize = 1024 * 1024;
/// Memory that the sequences of one schema may be charged with.
pub const SCHEMA_MEMORY_BYTES_MAX: usize = 16 * 1024 * 1024;
