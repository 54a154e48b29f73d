-- What is sealed cannot be opened here: those subscriptions wait for a new secret.
update pgstream.webhook_subscriptions s
set secret = case when not k.secret ^@ 'sealed:' then k.secret end,
    enabled = s.enabled and not k.secret ^@ 'sealed:',
    disabled_reason = case when k.secret ^@ 'sealed:' then 'its secret was sealed' end
from pgstream.subscription_secrets k
where s.secret = format('kept:%s', k.id);

drop table pgstream.subscription_secrets;

drop table pgstream.row_security_exemptions;

update pgstream.webhook_deliveries set state = 'pending' where state = 'denied';

alter table pgstream.webhook_deliveries
  drop constraint state_is_pending_or_dead_or_denied,
  drop column columns,
  add constraint state_is_pending_or_dead check (state in ('pending', 'dead'));

drop index pgstream.webhook_deliveries_denied;
