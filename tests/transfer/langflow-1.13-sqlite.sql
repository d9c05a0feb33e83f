-- The tables that import and export know, as Langflow 1.13.0 (revision e5a7c9b1d3f2) makes them in SQLite.
CREATE TABLE user (
  id CHAR(32) NOT NULL,
  username VARCHAR NOT NULL,
  password VARCHAR NOT NULL,
  profile_image VARCHAR,
  is_active BOOLEAN NOT NULL,
  is_superuser BOOLEAN NOT NULL,
  create_at DATETIME NOT NULL,
  updated_at DATETIME NOT NULL,
  last_login_at DATETIME,
  retired_at DATETIME,
  store_api_key VARCHAR,
  optins JSON,
  PRIMARY KEY (id),
  UNIQUE (id)
);
CREATE UNIQUE INDEX ix_user_username ON user (username);
CREATE UNIQUE INDEX ix_user_username_lower ON user (lower(username));
CREATE TABLE folder (
  name VARCHAR NOT NULL,
  description TEXT,
  auth_settings JSON,
  id CHAR(32) NOT NULL,
  parent_id CHAR(32),
  user_id CHAR(32),
  workspace_id CHAR(32),
  is_personal BOOLEAN DEFAULT 0 NOT NULL,
  PRIMARY KEY (id),
  CONSTRAINT unique_folder_name UNIQUE (user_id, name),
  FOREIGN KEY(parent_id) REFERENCES folder (id),
  FOREIGN KEY(user_id) REFERENCES user (id)
);
CREATE INDEX ix_folder_is_personal ON folder (is_personal);
CREATE INDEX ix_folder_name ON folder (name);
CREATE INDEX ix_folder_workspace_id ON folder (workspace_id);
CREATE TABLE "flow" (
  name VARCHAR NOT NULL,
  description TEXT,
  icon_bg_color VARCHAR,
  gradient VARCHAR,
  is_component BOOLEAN,
  updated_at DATETIME,
  webhook BOOLEAN,
  endpoint_name VARCHAR,
  data JSON,
  mcp_enabled BOOLEAN,
  action_name VARCHAR,
  action_description TEXT,
  access_type VARCHAR(7) DEFAULT 'PRIVATE' NOT NULL,
  flow_type VARCHAR(8) DEFAULT 'workflow' NOT NULL,
  a2a_enabled BOOLEAN DEFAULT 0,
  a2a_card_overrides JSON,
  id CHAR(32) NOT NULL,
  user_id CHAR(32),
  icon VARCHAR,
  tags JSON,
  locked BOOLEAN,
  folder_id CHAR(32),
  workspace_id CHAR(32),
  fs_path VARCHAR,
  version_token CHAR(32),
  last_modified_by CHAR(32),
  PRIMARY KEY (id),
  CONSTRAINT unique_flow_name UNIQUE (user_id, name),
  CONSTRAINT fk_flow_user_id_user FOREIGN KEY(user_id) REFERENCES user (id),
  CONSTRAINT unique_flow_endpoint_name UNIQUE (user_id, endpoint_name),
  FOREIGN KEY(folder_id) REFERENCES folder (id),
  UNIQUE (id)
);
CREATE INDEX ix_flow_description ON flow (description);
CREATE INDEX ix_flow_endpoint_name ON flow (endpoint_name);
CREATE INDEX ix_flow_folder_id ON flow (folder_id);
CREATE INDEX ix_flow_last_modified_by ON flow (last_modified_by);
CREATE INDEX ix_flow_name ON flow (name);
CREATE INDEX ix_flow_user_id ON flow (user_id);
CREATE INDEX ix_flow_workspace_id ON flow (workspace_id);
CREATE TABLE "message" (
  timestamp DATETIME NOT NULL,
  sender VARCHAR NOT NULL,
  sender_name VARCHAR NOT NULL,
  session_id VARCHAR NOT NULL,
  text TEXT,
  id CHAR(32) NOT NULL,
  flow_id CHAR(32),
  files JSON,
  error BOOLEAN DEFAULT 0 NOT NULL,
  edit BOOLEAN DEFAULT 0 NOT NULL,
  properties JSON,
  category TEXT,
  content_blocks JSON,
  context_id VARCHAR,
  session_metadata JSON,
  run_id CHAR(32),
  is_output BOOLEAN DEFAULT false NOT NULL, user_id CHAR(32),
  CONSTRAINT pk_message PRIMARY KEY (id)
);
CREATE INDEX ix_message_flow_id_session_id_timestamp ON message (flow_id, session_id, timestamp);
CREATE INDEX ix_message_flow_id_timestamp_id ON message (flow_id, timestamp, id);
CREATE INDEX ix_message_run_id ON message (run_id);
CREATE INDEX ix_message_session_id_timestamp_id ON message (session_id, timestamp, id);
CREATE INDEX ix_message_user_id ON message (user_id);
CREATE TABLE "transaction" (
  timestamp DATETIME NOT NULL,
  vertex_id VARCHAR NOT NULL,
  target_id VARCHAR,
  inputs JSON,
  outputs JSON,
  status VARCHAR NOT NULL,
  id CHAR(32) NOT NULL,
  flow_id CHAR(32) NOT NULL,
  error VARCHAR, user_id CHAR(32), session_id VARCHAR,
  CONSTRAINT pk_transaction PRIMARY KEY (id)
);
CREATE INDEX ix_transaction_session_id ON "transaction" (session_id);
CREATE INDEX ix_transaction_user_id ON "transaction" (user_id);
CREATE TABLE "vertex_build" (
  timestamp DATETIME NOT NULL,
  id VARCHAR NOT NULL,
  data JSON,
  artifacts JSON,
  params TEXT,
  build_id CHAR(32) NOT NULL,
  flow_id CHAR(32) NOT NULL,
  valid BOOLEAN NOT NULL, job_id CHAR(32),
  CONSTRAINT pk_vertex_build PRIMARY KEY (build_id)
);
CREATE INDEX ix_vertex_build_job_id ON vertex_build (job_id);
