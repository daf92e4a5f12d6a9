//! At the end a record that names its site is there, and nowhere else.
use crate::screen;
use crate::world::{Outcome, World};

impl World {
    pub fn homes(&mut self) -> Outcome<()> {
        let hub = self.hub.machine.eye().expect("on");
        let sql = "SELECT id, home FROM local WHERE home IS NOT NULL ORDER BY id";
        let mut query = hub.prepare_cached(sql).map_err(|error| error.to_string())?;
        let rows = query
            .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))
            .and_then(Iterator::collect)
            .map_err(|error| error.to_string())?;
        drop(query);
        let rows: Vec<(String, String)> = rows;
        let open = self.model.open_rows();
        for village in &mut self.villages {
            let eye = village.machine.eye().expect("on");
            let shown = screen::whole(eye, "local").map_err(|error| error.to_string())?;
            let name = &village.machine.name;
            for (id, home) in rows.iter().filter(|(id, _)| !open.contains(id)) {
                match (shown.contains_key(id), *home == village.site) {
                    (false, true) => {
                        return Err(format!("{name} lacks local {id}, which is its own"));
                    }
                    (true, false) => {
                        return Err(format!("{name} shows local {id}, which is of {home}"));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
