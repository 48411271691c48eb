-- Run once by the database image, on its first start with an empty volume: the services' roles get the password of
-- .env. supabase_functions_admin is left alone: the image makes it later, and naming it here would end the start.
\set password `echo "$POSTGRES_PASSWORD"`

alter role authenticator with password :'password';
alter role supabase_auth_admin with password :'password';
alter role supabase_storage_admin with password :'password';
alter role pgbouncer with password :'password';
