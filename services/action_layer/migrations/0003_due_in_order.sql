-- In the very order in which the worker asks, so that it reads no further than what it takes, however many wait.
drop index action_due;
create index action_due on action (effector, next_at, id) where next_at is not null;
