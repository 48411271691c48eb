-- After the bytes of a backup were put back through Storage: Storage gave each object a new version, which documents and
-- waiting jobs are told, and the trigger of the migrations stands guard again.
begin;

update public.documents d
set object_version = o.version
from storage.objects o
where o.bucket_id = 'documents' and o.name = d.owner_id || '/' || d.id
    and d.object_version is not null and d.object_version <> o.version;

update jobs.queue q
set args = jsonb_set(q.args, '{object_version}', to_jsonb(d.object_version)),
    dedupe_key = format('archive:%s:%s', d.id, d.object_version)
from public.documents d
where d.id = q.document_id and q.kind = 'archive_document' and q.args ->> 'object_version' <> d.object_version;

create trigger instashare_receive_original after insert or update on storage.objects
for each row execute function private.receive_original();

commit;
