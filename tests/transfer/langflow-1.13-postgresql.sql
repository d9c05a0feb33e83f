-- The tables that import and export know, as Langflow 1.13.0 (revision e5a7c9b1d3f2) makes them in PostgreSQL.
CREATE TYPE public.access_type_enum AS ENUM ('PRIVATE', 'PUBLIC');
CREATE TYPE public.flow_type_enum AS ENUM ('workflow', 'agent');
CREATE TABLE public.flow (
    name character varying NOT NULL,
    description text,
    icon_bg_color character varying,
    gradient character varying,
    is_component boolean,
    updated_at timestamp with time zone,
    webhook boolean,
    endpoint_name character varying,
    data json,
    mcp_enabled boolean,
    action_name character varying,
    action_description text,
    access_type public.access_type_enum DEFAULT 'PRIVATE'::public.access_type_enum NOT NULL,
    flow_type public.flow_type_enum DEFAULT 'workflow'::public.flow_type_enum NOT NULL,
    a2a_enabled boolean DEFAULT false,
    a2a_card_overrides json,
    id uuid NOT NULL,
    user_id uuid,
    icon character varying,
    tags json,
    locked boolean,
    folder_id uuid,
    workspace_id uuid,
    fs_path character varying,
    version_token uuid,
    last_modified_by uuid
);
CREATE TABLE public.folder (
    name character varying NOT NULL,
    description text,
    auth_settings json,
    id uuid NOT NULL,
    parent_id uuid,
    user_id uuid,
    workspace_id uuid,
    is_personal boolean DEFAULT false NOT NULL
);
CREATE TABLE public.message (
    "timestamp" timestamp with time zone NOT NULL,
    sender character varying NOT NULL,
    sender_name character varying NOT NULL,
    session_id character varying NOT NULL,
    text text,
    id uuid NOT NULL,
    flow_id uuid,
    files json,
    error boolean DEFAULT false NOT NULL,
    edit boolean DEFAULT false NOT NULL,
    properties json,
    category text,
    content_blocks json,
    context_id character varying,
    session_metadata json,
    run_id uuid,
    is_output boolean DEFAULT false NOT NULL,
    user_id uuid
);
CREATE TABLE public.transaction (
    "timestamp" timestamp with time zone NOT NULL,
    vertex_id character varying NOT NULL,
    target_id character varying,
    inputs json,
    outputs json,
    status character varying NOT NULL,
    id uuid NOT NULL,
    flow_id uuid NOT NULL,
    error character varying,
    user_id uuid,
    session_id character varying
);
CREATE TABLE public."user" (
    id uuid NOT NULL,
    username character varying NOT NULL,
    password character varying NOT NULL,
    profile_image character varying,
    is_active boolean NOT NULL,
    is_superuser boolean NOT NULL,
    create_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    last_login_at timestamp with time zone,
    retired_at timestamp with time zone,
    store_api_key character varying,
    optins json
);
CREATE TABLE public.vertex_build (
    "timestamp" timestamp with time zone NOT NULL,
    id character varying NOT NULL,
    data json,
    artifacts json,
    params text,
    build_id uuid NOT NULL,
    flow_id uuid NOT NULL,
    valid boolean NOT NULL,
    job_id uuid
);
ALTER TABLE ONLY public.flow
    ADD CONSTRAINT flow_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.folder
    ADD CONSTRAINT folder_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.message
    ADD CONSTRAINT pk_message PRIMARY KEY (id);
ALTER TABLE ONLY public.transaction
    ADD CONSTRAINT pk_transaction PRIMARY KEY (id);
ALTER TABLE ONLY public.vertex_build
    ADD CONSTRAINT pk_vertex_build PRIMARY KEY (build_id);
ALTER TABLE ONLY public.flow
    ADD CONSTRAINT unique_flow_endpoint_name UNIQUE (user_id, endpoint_name);
ALTER TABLE ONLY public.flow
    ADD CONSTRAINT unique_flow_name UNIQUE (user_id, name);
ALTER TABLE ONLY public.folder
    ADD CONSTRAINT unique_folder_name UNIQUE (user_id, name);
ALTER TABLE ONLY public.flow
    ADD CONSTRAINT uq_flow_id UNIQUE (id);
ALTER TABLE ONLY public."user"
    ADD CONSTRAINT uq_user_id UNIQUE (id);
ALTER TABLE ONLY public."user"
    ADD CONSTRAINT user_pkey PRIMARY KEY (id);
CREATE INDEX ix_flow_description ON public.flow USING btree (description);
CREATE INDEX ix_flow_endpoint_name ON public.flow USING btree (endpoint_name);
CREATE INDEX ix_flow_folder_id ON public.flow USING btree (folder_id);
CREATE INDEX ix_flow_last_modified_by ON public.flow USING btree (last_modified_by);
CREATE INDEX ix_flow_name ON public.flow USING btree (name);
CREATE INDEX ix_flow_user_id ON public.flow USING btree (user_id);
CREATE INDEX ix_flow_workspace_id ON public.flow USING btree (workspace_id);
CREATE INDEX ix_folder_is_personal ON public.folder USING btree (is_personal);
CREATE INDEX ix_folder_name ON public.folder USING btree (name);
CREATE INDEX ix_folder_workspace_id ON public.folder USING btree (workspace_id);
CREATE INDEX ix_message_flow_id_session_id_timestamp ON public.message USING btree (flow_id, session_id, "timestamp");
CREATE INDEX ix_message_flow_id_timestamp_id ON public.message USING btree (flow_id, "timestamp", id);
CREATE INDEX ix_message_run_id ON public.message USING btree (run_id);
CREATE INDEX ix_message_session_id_timestamp_id ON public.message USING btree (session_id, "timestamp", id);
CREATE INDEX ix_message_session_metadata_tenant ON public.message USING btree (((session_metadata ->> 'tenant_id'::text)));
CREATE INDEX ix_message_session_metadata_user ON public.message USING btree (((session_metadata ->> 'user_id'::text)));
CREATE INDEX ix_message_user_id ON public.message USING btree (user_id);
CREATE INDEX ix_transaction_session_id ON public.transaction USING btree (session_id);
CREATE INDEX ix_transaction_user_id ON public.transaction USING btree (user_id);
CREATE UNIQUE INDEX ix_user_username ON public."user" USING btree (username);
CREATE UNIQUE INDEX ix_user_username_lower ON public."user" USING btree (lower((username)::text));
CREATE INDEX ix_vertex_build_job_id ON public.vertex_build USING btree (job_id);
ALTER TABLE ONLY public.flow
    ADD CONSTRAINT fk_flow_user_id_user FOREIGN KEY (user_id) REFERENCES public."user"(id);
ALTER TABLE ONLY public.flow
    ADD CONSTRAINT flow_folder_id_fkey FOREIGN KEY (folder_id) REFERENCES public.folder(id);
ALTER TABLE ONLY public.flow
    ADD CONSTRAINT flow_user_id_fkey FOREIGN KEY (user_id) REFERENCES public."user"(id);
ALTER TABLE ONLY public.folder
    ADD CONSTRAINT folder_parent_id_fkey FOREIGN KEY (parent_id) REFERENCES public.folder(id);
ALTER TABLE ONLY public.folder
    ADD CONSTRAINT folder_user_id_fkey FOREIGN KEY (user_id) REFERENCES public."user"(id);
