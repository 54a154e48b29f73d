create role frozen_shop login;
create role frozen_rival login;
create role frozen_oncall login;
create role frozen_courier login replication;
create role frozen_till login;
create role frozen_ear login;
create role frozen_eval login;

