drop table pgstream.replay_requests;
drop table pgstream.publication_settings;
drop table pgstream.lent_identities;
drop table pgstream.subscription_targets;
drop table pgstream.locks;
