alter table pgstream.runner_lease drop column if exists system_identifier;
