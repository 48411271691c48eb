-- Leaving one share, or being refused what its owner alone may do, reads that share and not all 10,000 of the caller's.

create or replace function private.leave_share(document_id uuid)
returns void
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
    document public.documents;
begin
    select * into document from public.documents d
    where d.id = leave_share.document_id and private.is_shared(d.id)
    for no key update;
    if not found or not private.is_active() then
        perform private.refuse(404, 'share_not_found', 'This document is not shared with you.', '');
    end if;
    -- what waits behind the share, for another address of his, would take its place
    delete from public.share_invitations i using auth.users u
    where i.document_id = document.id and u.id = auth.uid() and u.email_confirmed_at is not null and i.email = lower(u.email);
    delete from public.document_shares s where s.document_id = document.id and s.user_id = auth.uid();
    if not found then
        perform private.refuse(404, 'share_not_found', 'This document is not shared with you.', '');
    end if;
    perform private.end_access(document);
    perform private.log_event('share_left', 'A recipient gave up access', document.id, document.owner_id);
end;
$$;

create or replace function private.own_document(document_id uuid)
returns public.documents
language plpgsql
security definer
set search_path = ''
as $$
declare
    document public.documents;
begin
    select * into document from public.documents d
    where d.id = own_document.document_id and d.owner_id = auth.uid() and private.is_active()
    for no key update;
    if not found then
        if private.is_shared(document_id) then
            perform private.refuse(403, 'not_owner', 'This document belongs to somebody else.', 'Ask its owner.');
        end if;
        perform private.refuse(404, 'document_not_found', 'There is no such document.', '');
    end if;
    return document;
end;
$$;
