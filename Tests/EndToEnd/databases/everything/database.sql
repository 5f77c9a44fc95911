-- About the database itself.

select format('comment on database %I is %L', current_database(), 'Holds "everything"'),
    format('alter database %I set default_statistics_target = 150', current_database()),
    format('alter role everything_owner in database %I set work_mem = ''5MB''', current_database()),
    format('grant temporary on database %I to everything_reader', current_database())
\gexec
