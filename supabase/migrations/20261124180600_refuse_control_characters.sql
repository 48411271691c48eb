-- A media type is one line of visible characters: it goes into headers and lists of whoever handles the document.
-- (Rows from before keep what they have.)

create or replace function private.admit_document()
returns trigger
language plpgsql
security definer
set search_path = ''
set plan_cache_mode = auto
as $$
declare
    setting private.settings;
begin
    if not (select private.may_upload()) then
        perform private.refuse(403, 'not_allowed', 'You may not upload documents.', 'Ask an administrator for the role "member".');
    end if;
    new.owner_id := auth.uid();
    new.name := private.clean_name(new.name);
    perform private.refuse_name(new.name);
    new.mime_type := coalesce(nullif(btrim(new.mime_type), ''), 'application/octet-stream');
    if char_length(new.mime_type) > 255 or new.mime_type ~ '[^\x20-\x7e]' then
        perform private.refuse(422, 'mime_type_invalid',
            'The media type must be one line of at most 255 plain characters.', 'Leave mime_type out.');
    end if;
    if new.size_bytes is null or new.size_bytes < 0 then
        perform private.refuse(422, 'size_invalid', 'The size must be a number of bytes, 0 or more.', 'Send size_bytes.');
    end if;
    select * into setting from private.settings;
    if new.size_bytes > setting.file_size_limit_bytes then
        perform private.refuse(413, 'file_too_large',
            format('The file has %s bytes; the limit is %s.', new.size_bytes, setting.file_size_limit_bytes),
            'Split the file, or ask the operator to raise the limit.');
    end if;
    return new;
end;
$$;
revoke execute on all functions in schema private from public;
