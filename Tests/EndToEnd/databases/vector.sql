-- Embeddings, as database.build's users make them, for Postgres 16 with pgvector 0.6 or later.
--
--   psql -X -v ON_ERROR_STOP=1 -d EMPTY -f vector.sql              as a superuser
--
-- :dimensions is of each embedding (384), :documents how many there are (2000).

\set ON_ERROR_STOP 1
\pset tuples_only on
\o /dev/null
\if :{?dimensions} \else \set dimensions 384 \endif
\if :{?documents} \else \set documents 2000 \endif
set client_min_messages = error;
set client_encoding = 'UTF8';

select not exists (select from pg_roles where rolname = 'vector_reader') as is_missing \gset
\if :is_missing
create role vector_reader;
\endif

create extension vector;
create table documents (
    id bigint generated always as identity primary key,
    owner text not null,
    title text not null,
    body text,
    metadata jsonb not null default '{}',
    created_at timestamptz not null default now()
);
create table sections (
    id bigint generated always as identity primary key,
    document_id bigint not null references documents on delete cascade,
    content text not null,
    embedding vector(:dimensions) not null,
    small vector(3),
    any_size vector
);
comment on column sections.embedding is 'Cosine';

insert into documents (owner, title, body, metadata)
    select (array['ann', 'bob', 'größe'])[1 + i % 3], 'Document ' || i, repeat('text ', i % 50),
        jsonb_build_object('n', i)
    from generate_series(1, :documents) i;
-- Numbers that are the same on every run, and look random enough for an index.
insert into sections (document_id, content, embedding, small, any_size)
    select d.id, 'Section of ' || d.title,
        (select array_agg((hashint8(d.id * 1000 + n) % 1000) / 1000.0 order by n)
            from generate_series(1, :dimensions) n)::vector,
        format('[%s,%s,%s]', d.id % 7, d.id % 5, d.id % 3)::vector,
        case when d.id % 2 = 0 then '[1,2]'::vector end
    from documents d;

create index sections_hnsw on sections using hnsw (embedding vector_cosine_ops)
    with (m = 8, ef_construction = 32);
create index sections_ivfflat on sections using ivfflat (embedding vector_l2_ops) with (lists = 20);
create index sections_ip on sections using hnsw (small vector_ip_ops);
create index documents_owner on documents (owner);

create function match_sections(
    query vector(:dimensions), threshold double precision default 0.5, wanted integer default 10
) returns table (id bigint, title text, similarity double precision)
    language sql stable as $$
    select s.id, d.title, 1 - (s.embedding <=> query)
    from sections s join documents d on d.id = s.document_id
    where 1 - (s.embedding <=> query) > threshold
    order by s.embedding <=> query
    limit wanted
$$;
create view centroids as
    select owner, avg(small) as centre from documents d join sections s on s.document_id = d.id
    group by owner;
create materialized view neighbours as
    select a.id, b.id as neighbour, a.small <-> b.small as distance
    from sections a join sections b on b.id = a.id + 1;

alter table documents enable row level security;
alter table sections enable row level security;
alter table sections force row level security;
create policy own_documents on documents to vector_reader
    using (owner = current_setting('request.owner', true));
create policy own_sections on sections for select to vector_reader
    using (document_id in (select id from documents));
create policy everything on sections to current_user using (true) with check (true);
grant select on documents, sections to vector_reader;

analyze;
