drop table pgstream.runner_lease;
