-- The journal on PostgreSQL in a database of its own, which only the role of the workers can reach.
--
--   psql postgresql://ADMIN@HOST/postgres -f examples/journal-role.sql
--   psql postgresql://ADMIN@HOST/postgres -c '\password aon_worker'
--
-- Run it as somebody who may make roles and databases; other names: change both here. The role needs nothing else: no superuser, no extension.
\set ON_ERROR_STOP on
create role aon_worker login nosuperuser nocreatedb nocreaterole;
create database journal owner aon_worker;
revoke all on database journal from public;
\connect journal
revoke all on schema public from public;
grant usage, create on schema public to aon_worker;
