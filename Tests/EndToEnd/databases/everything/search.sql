-- Text search: parser, template, dictionary, configuration.

create text search parser app.words (
    start = prsd_start, gettoken = prsd_nexttoken, end = prsd_end, headline = prsd_headline,
    lextypes = prsd_lextype
);
create text search template app.template (init = dsimple_init, lexize = dsimple_lexize);
create text search dictionary app.simple_words (
    template = app.template, stopwords = 'english', accept = 'false'
);
create text search configuration app.search (parser = app.words);
alter text search configuration app.search
    add mapping for asciiword, word, numword with app.simple_words, english_stem;
alter text search configuration app.search add mapping for email, url with pg_catalog.simple;
comment on text search parser app.words is 'As the default';
comment on text search template app.template is 'As simple';
comment on text search dictionary app.simple_words is 'Leaves stop words out';
comment on text search configuration app.search is 'Of everything';

create table app.documents (
    id integer primary key, body text,
    words tsvector generated always as (to_tsvector('app.search', body)) stored
);
create index documents_words on app.documents using gin (words);
insert into app.documents (id, body)
    select i, 'The quick brown fox number ' || i || ' jumps over it@example.com'
    from generate_series(1, 200) i;
