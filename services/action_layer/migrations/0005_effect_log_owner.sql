-- Whose effect log it is: the folder keeps the same number, and another database's is refused.
alter table effect_log add column owner uuid not null default gen_random_uuid();
