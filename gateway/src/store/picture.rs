//! The picture that people see: rows laid out, then the rule for deletes over
//! them and their neighbours, then the typed tables and the feed.
//!
//! Only neighbours that matter are looked at: those who reference a row that is
//! deleted or hidden, the rows that go with it, and the deleted rows that a
//! changed row references, or the rows above it.
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wadi_protocol::change::{Change, Op};
use wadi_protocol::resolve::Image;
use wadi_protocol::resolve::deletion::{self, decide};
use wadi_protocol::schema::{DeletePolicy, Kind, OnDelete, Schema};

use super::error::Problem;
use super::image::{self, Fields, Key, encode_image, references, referrers};
use super::overlay::{Laid, Meta, Shown, State};
use super::seen;
use super::work::{Work, table_of};

/// Rows that take part.
#[derive(Default)]
struct Graph {
    index: BTreeMap<Key, usize>,
    /// Whether rows that others reference are gone, as far as that was asked.
    gone: BTreeMap<Key, bool>,
    /// Rows that are not gone, nor is any above them.
    calm: BTreeSet<Key>,
    nodes: Vec<Node>,
}

struct Node {
    key: Key,
    laid: Laid,
    /// What the typed table held before.
    before: Option<Fields>,
    /// Its referrers take part too.
    expanded: bool,
    /// It is not only a neighbour.
    asked: bool,
}

/// Show rows anew, in this order (twins count once). `forced` rows get a place in
/// the feed even if they look the same: what their viewers have seen has changed.
pub(crate) fn show(work: &mut Work<'_>, dirty: &[Key], forced: bool) -> Result<(), Problem> {
    let Some(schema) = work.schema() else {
        return Ok(());
    };
    let graph = Graph::around(work, &schema, dirty)?;
    let dead = decide(&graph.judged(work, &schema)).dead;
    for (at, node) in graph.nodes.iter().enumerate() {
        graph.settle(work, &schema, at, &dead, forced && node.asked)?;
    }
    Ok(())
}

impl Graph {
    fn around(work: &Work<'_>, schema: &Schema, dirty: &[Key]) -> Result<Graph, Problem> {
        let mut graph = Graph::default();
        let mut queue = VecDeque::new();
        for &key in dirty {
            if !graph.index.contains_key(&key) {
                let at = graph.enter(work, schema, key, &mut queue)?;
                graph.nodes[at].asked = true;
            }
        }
        queue.extend(dirty.iter().map(|&key| (key, false)));
        while !queue.is_empty() {
            while let Some((key, expand)) = queue.pop_front() {
                graph.visit(work, schema, (key, expand), &mut queue)?;
            }
            queue.extend(graph.children(schema).map(|key| (key, true)));
        }
        Ok(graph)
    }

    /// Look at a row, and at those who reference it where it may go.
    fn visit(
        &mut self,
        work: &Work<'_>,
        schema: &Schema,
        (key, expand): (Key, bool),
        queue: &mut VecDeque<(Key, bool)>,
    ) -> Result<(), Problem> {
        let at = match self.index.get(&key) {
            Some(&at) => at,
            None => self.enter(work, schema, key, queue)?,
        };
        let node = &mut self.nodes[at];
        let Meta { shown, state, .. } = node.laid.meta;
        // Of one that was gone, too: references to it are shown as null.
        let gone = shown == Shown::Absent && matches!(state, State::Dead | State::Left);
        let hides = node.laid.deleted || gone || matches!(shown, Shown::Hidden | Shown::Kept);
        if (expand || hides) && !node.expanded {
            node.expanded = true;
            for (child, on_delete) in referrers(&work.tx, schema, key)? {
                queue.push_back((child, on_delete == OnDelete::Cascade));
            }
        }
        Ok(())
    }

    /// Rows that may go with another and are not expanded yet: their reference is new, so
    /// that no table told of it.
    fn children(&self, schema: &Schema) -> impl Iterator<Item = Key> {
        self.nodes.iter().filter(|node| !node.expanded).filter_map(move |node| {
            let goes = |&(_, at, on_delete): &(u16, usize, OnDelete)| {
                on_delete == OnDelete::Cascade && self.nodes[at].expanded
            };
            self.targets(schema, node).iter().any(goes).then_some(node.key)
        })
    }

    /// Take a row in, and with it the deleted rows that it references or referenced.
    fn enter(
        &mut self,
        work: &Work<'_>,
        schema: &Schema,
        key: Key,
        queue: &mut VecDeque<(Key, bool)>,
    ) -> Result<usize, Problem> {
        let table = table_of(schema, key.0)?;
        let laid = Laid::load(work, schema, key)?;
        let before = if laid.meta.is_shown() { image::read(&work.tx, table, key.1)? } else { None };
        for fields in [&before, &laid.image].into_iter().flatten() {
            for (_, target, _) in references(table, fields) {
                if self.concerns(work, schema, target)? {
                    queue.push_back((target, false));
                }
            }
        }
        let at = self.nodes.len();
        self.nodes.push(Node { key, laid, before, expanded: false, asked: false });
        self.index.insert(key, at);
        Ok(at)
    }

    /// Whether a row that another references is gone, or would go with one above it that is:
    /// that one may be here only because of the other.
    fn concerns(&mut self, work: &Work<'_>, schema: &Schema, key: Key) -> Result<bool, Problem> {
        let (mut above, mut seen) = (vec![key], BTreeSet::from([key]));
        while let Some(key) = above.pop() {
            if self.is_gone(work, key)? {
                return Ok(true);
            }
            let table = table_of(schema, key.0)?;
            if self.calm.contains(&key) || !table.fields.iter().any(|field| rises(&field.kind)) {
                continue;
            }
            let fields = image::read(&work.tx, table, key.1)?.unwrap_or_default();
            let targets = references(table, &fields).into_iter();
            let targets = targets.filter(|(_, _, on_delete)| *on_delete != OnDelete::SetNull);
            above.extend(targets.map(|(_, key, _)| key).filter(|key| seen.insert(*key)));
        }
        self.calm.append(&mut seen);
        Ok(false)
    }

    /// Whether a row that another references was deleted or is hidden.
    fn is_gone(&mut self, work: &Work<'_>, key: Key) -> Result<bool, Problem> {
        if let Some(&gone) = self.gone.get(&key) {
            return Ok(gone);
        }
        let meta = Meta::load(&work.tx, key)?;
        let gone = matches!(meta.shown, Shown::Hidden | Shown::Kept)
            || matches!(meta.state, State::Dead | State::Left);
        self.gone.insert(key, gone);
        Ok(gone)
    }

    fn targets(&self, schema: &Schema, node: &Node) -> Vec<(u16, usize, OnDelete)> {
        let (Some(table), Some(fields)) = (schema.table(node.key.0), &node.laid.image) else {
            return Vec::new();
        };
        let known =
            |(field, target, on_delete)| self.index.get(&target).map(|&at| (field, at, on_delete));
        references(table, fields).into_iter().filter_map(known).collect()
    }

    fn judged(&self, work: &Work<'_>, schema: &Schema) -> Vec<deletion::Node> {
        let judge = |node: &Node| {
            let targets = self.targets(schema, node);
            let survives = targets.iter().filter(|(_, at, on_delete)| {
                let parent = &self.nodes[*at].laid;
                *on_delete == OnDelete::Cascade
                    && parent.deleted
                    && survives(work, schema, node, parent)
            });
            deletion::Node {
                deleted: node.laid.deleted,
                survives: survives.map(|&(_, at, _)| at).collect(),
                references: targets.iter().map(|&(_, at, on_delete)| (at, on_delete)).collect(),
            }
        };
        self.nodes.iter().map(judge).collect()
    }

    /// Write down what became of a row.
    fn settle(
        &self,
        work: &mut Work<'_>,
        schema: &Schema,
        at: usize,
        dead: &[bool],
        forced: bool,
    ) -> Result<(), Problem> {
        let node = &self.nodes[at];
        let (key, laid) = (node.key, &node.laid);
        let table = table_of(schema, key.0)?;
        let visible = laid.image.clone().filter(|_| !dead[at]);
        let mut hidden_refs = Vec::new();
        let fields = visible.map(|mut fields| {
            for (field, target, on_delete) in self.targets(schema, node) {
                if on_delete == OnDelete::SetNull && dead[target] {
                    fields.remove(&field);
                    hidden_refs.push((field, self.nodes[target].key));
                }
            }
            fields
        });
        let mut meta = laid.meta.clone();
        meta.shown = match (&fields, &laid.image) {
            (Some(_), _) if laid.deleted => Shown::Kept,
            (Some(_), _) => Shown::Visible,
            // Of a row that the hub has deleted nothing is left to bring back.
            (None, Some(_))
                if laid.base.as_ref().is_none_or(|base| base.live) || !laid.overlay.is_empty() =>
            {
                Shown::Hidden
            }
            (None, _) => Shown::Absent,
        };
        if meta.shown == Shown::Hidden
            && let Some(image) = &laid.image
        {
            hidden_refs
                .extend(references(table, image).into_iter().map(|(f, target, _)| (f, target)));
        }
        meta.base = keep_base(laid, &meta, fields.as_ref());
        if meta.state == State::Left && meta.base.is_none() {
            meta.version = 0;
        }
        meta.sight = laid.sight.clone();
        if meta.shown == Shown::Absent {
            meta.sight.review.clear();
        }
        let changed = node.before != fields;
        let more = meta.sight.above.iter().any(|dot| !laid.meta.sight.above.contains(dot))
            || meta.sight.marked != laid.meta.sight.marked
            || meta.sight.review != laid.meta.sight.review;
        if changed || more || forced {
            work.ground.feed_seq += 1;
            meta.feed_seq = work.ground.feed_seq;
        }
        if changed {
            image::write(&work.tx, table, key.1, fields.as_ref())?;
        }
        // A row that was never here has none to take back.
        if !hidden_refs.is_empty() || laid.meta != Meta::default() {
            store_refs(work, key, &hidden_refs)?;
        }
        if meta != laid.meta {
            meta.save(&work.tx, key)?;
        }
        Ok(())
    }
}

/// Whether what is deleted at the other end of a reference may take a row along or be held by it.
fn rises(kind: &Kind) -> bool {
    matches!(kind, Kind::Reference { on_delete, .. } if *on_delete != OnDelete::SetNull)
}

/// The base image to keep beside the typed row: none where the two are the same.
fn keep_base(laid: &Laid, meta: &Meta, shown: Option<&Fields>) -> Option<Vec<u8>> {
    let base: &Image = laid.base.as_ref()?;
    if laid.overlay.is_empty() {
        let same = base.live && shown == Some(&base.fields);
        let gone = !base.live && meta.shown == Shown::Absent;
        if same || gone {
            return None;
        }
    }
    Some(encode_image(base))
}

/// Whether a row stays although `parent`, which would take it along, is deleted.
fn survives(work: &Work<'_>, schema: &Schema, child: &Node, parent: &Laid) -> bool {
    let deletes = parent.deletes();
    if deletes.is_empty() {
        // The hub deleted the parent without knowing of what is laid here: it
        // stays on the screen until the hub has decided about it.
        return child.laid.overlay.iter().any(|entry| entry.change.op != Op::Delete);
    }
    let policy = schema.table(child.key.0).map(|table| table.delete);
    policy != Some(DeletePolicy::DeleteWins)
        && deletes.iter().all(|delete| missed(work, child, delete))
}

/// Whether a delete had not seen some change of a row that would go with it.
fn missed(work: &Work<'_>, child: &Node, delete: &Change) -> bool {
    let seen = delete.closure.iter().find(|row| (row.table, row.row) == child.key);
    let seen_seq = seen.map_or(0, |row| seen::expand(&work.ground, row.seen.version));
    let base = child.laid.base.is_some() && child.laid.meta.version > seen_seq;
    base || child.laid.overlay.iter().any(|entry| {
        let dot = entry.change.dot;
        let named = seen.is_some_and(|row| row.seen.above.contains(&dot));
        let covered = entry.seq != 0 && entry.seq <= seen_seq;
        !named && !covered && !work.ground.lines.earlier(dot, delete.dot)
    })
}

fn store_refs(work: &Work<'_>, key: Key, refs: &[(u16, Key)]) -> Result<(), Problem> {
    work.run("DELETE FROM wadi_ref WHERE tbl = ? AND row = ?", (key.0, key.1.0))?;
    for (field, target) in refs {
        work.run(
            "INSERT INTO wadi_ref (tbl, row, field, target_tbl, target_row) VALUES (?, ?, ?, ?, ?)",
            (key.0, key.1.0, field, target.0, target.1.0),
        )?;
    }
    Ok(())
}
