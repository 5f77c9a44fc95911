-- A shop that sells music, in the manner of Chinook: names in mixed case. Postgres 15 and later.
--
--   psql -X -v ON_ERROR_STOP=1 -d EMPTY -f chinook.sql
--
-- :tracks is how many tracks there are (3500).

\set ON_ERROR_STOP 1
\pset tuples_only on
\o /dev/null
\if :{?tracks} \else \set tracks 3500 \endif
set client_min_messages = error;
set client_encoding = 'UTF8';

create table "Artist" ("ArtistId" integer not null, "Name" varchar(120),
    constraint "PK_Artist" primary key ("ArtistId"));
create table "Album" ("AlbumId" integer not null, "Title" varchar(160) not null,
    "ArtistId" integer not null, constraint "PK_Album" primary key ("AlbumId"));
create table "Employee" (
    "EmployeeId" integer not null, "LastName" varchar(20) not null,
    "FirstName" varchar(20) not null, "Title" varchar(30), "ReportsTo" integer,
    "BirthDate" timestamp, "HireDate" timestamp,
    "Email" varchar(60), constraint "PK_Employee" primary key ("EmployeeId"));
create table "Customer" (
    "CustomerId" integer not null, "FirstName" varchar(40) not null,
    "LastName" varchar(20) not null,
    "Company" varchar(80), "Country" varchar(40), "Email" varchar(60) not null,
    "SupportRepId" integer, constraint "PK_Customer" primary key ("CustomerId"));
create table "Genre" ("GenreId" integer not null, "Name" varchar(120),
    constraint "PK_Genre" primary key ("GenreId"));
create table "MediaType" ("MediaTypeId" integer not null, "Name" varchar(120),
    constraint "PK_MediaType" primary key ("MediaTypeId"));
create table "Track" (
    "TrackId" integer not null, "Name" varchar(200) not null, "AlbumId" integer,
    "MediaTypeId" integer not null, "GenreId" integer, "Composer" varchar(220),
    "Milliseconds" integer not null, "Bytes" integer, "UnitPrice" numeric(10, 2) not null,
    constraint "PK_Track" primary key ("TrackId"));
create table "Playlist" ("PlaylistId" integer not null, "Name" varchar(120),
    constraint "PK_Playlist" primary key ("PlaylistId"));
create table "PlaylistTrack" ("PlaylistId" integer not null, "TrackId" integer not null,
    constraint "PK_PlaylistTrack" primary key ("PlaylistId", "TrackId"));
create table "Invoice" (
    "InvoiceId" integer not null, "CustomerId" integer not null, "InvoiceDate" timestamp not null,
    "BillingCountry" varchar(40), "Total" numeric(10, 2) not null,
    constraint "PK_Invoice" primary key ("InvoiceId"));
create table "InvoiceLine" (
    "InvoiceLineId" integer not null, "InvoiceId" integer not null, "TrackId" integer not null,
    "UnitPrice" numeric(10, 2) not null, "Quantity" integer not null,
    constraint "PK_InvoiceLine" primary key ("InvoiceLineId"));

insert into "Artist" select i, 'Künstler ' || i from generate_series(1, 275) i;
insert into "Album" select i, 'Album "' || i || '"', 1 + i % 275 from generate_series(1, 347) i;
insert into "Employee"
    select i, 'Last' || i, 'First' || i, 'Title', nullif(i / 2, 0),
        '1970-01-01'::timestamp + i * interval '1 year', '2003-01-01', 'e' || i || '@example.com'
    from generate_series(1, 8) i;
insert into "Customer"
    select i, 'First' || i, 'O''Last' || i, case when i % 3 = 0 then 'Company; ' || i end,
        'Country ' || i % 24, 'c' || i || '@example.com', 3 + i % 3
    from generate_series(1, 59) i;
insert into "Genre" select i, 'Genre ' || i from generate_series(1, 25) i;
insert into "MediaType" select i, 'Media ' || i from generate_series(1, 5) i;
insert into "Track"
    select i, 'Track ' || i, 1 + i % 347, 1 + i % 5, 1 + i % 25,
        case when i % 4 > 0 then 'Composer ' || i % 850 end, 100000 + i * 37, i * 6151, 0.99 + i % 2
    from generate_series(1, :tracks) i;
insert into "Playlist" select i, 'Playlist ' || i from generate_series(1, 18) i;
insert into "PlaylistTrack"
    select p, t from generate_series(1, 18) p, generate_series(1, :tracks) t where t % (p + 3) = 0;
insert into "Invoice"
    select i, 1 + i % 59, '2021-01-01'::timestamp + i * interval '4 days 7 h',
        'Country ' || i % 24, 0
    from generate_series(1, 412) i;
insert into "InvoiceLine"
    select i, 1 + i % 412, 1 + i * 3 % :tracks, 0.99 + i % 2, 1 from generate_series(1, 2240) i;
update "Invoice" i set "Total" = (
    select coalesce(sum("UnitPrice" * "Quantity"), 0) from "InvoiceLine" l
    where l."InvoiceId" = i."InvoiceId");

alter table "Album" add constraint "FK_AlbumArtistId"
    foreign key ("ArtistId") references "Artist" on delete no action on update no action;
alter table "Customer" add constraint "FK_CustomerSupportRepId"
    foreign key ("SupportRepId") references "Employee";
alter table "Employee" add constraint "FK_EmployeeReportsTo"
    foreign key ("ReportsTo") references "Employee";
alter table "Invoice" add constraint "FK_InvoiceCustomerId"
    foreign key ("CustomerId") references "Customer";
alter table "InvoiceLine" add constraint "FK_InvoiceLineInvoiceId"
    foreign key ("InvoiceId") references "Invoice";
alter table "InvoiceLine" add constraint "FK_InvoiceLineTrackId"
    foreign key ("TrackId") references "Track";
alter table "PlaylistTrack" add constraint "FK_PlaylistTrackPlaylistId"
    foreign key ("PlaylistId") references "Playlist";
alter table "PlaylistTrack" add constraint "FK_PlaylistTrackTrackId"
    foreign key ("TrackId") references "Track";
alter table "Track" add constraint "FK_TrackAlbumId" foreign key ("AlbumId") references "Album";
alter table "Track" add constraint "FK_TrackGenreId" foreign key ("GenreId") references "Genre";
alter table "Track" add constraint "FK_TrackMediaTypeId"
    foreign key ("MediaTypeId") references "MediaType";
create index "IFK_AlbumArtistId" on "Album" ("ArtistId");
create index "IFK_TrackAlbumId" on "Track" ("AlbumId");
create index "IFK_InvoiceLineTrackId" on "InvoiceLine" ("TrackId");
create view "BestSellers" as
    select t."Name", count(*) as "Sold" from "InvoiceLine" l join "Track" t using ("TrackId")
    group by t."TrackId" having count(*) > 1;

analyze;
