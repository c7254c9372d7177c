-- Tries in a row that found no connection: they wait longer each time, and are no attempts.
alter table action add column unsent integer not null default 0;
